"""Keep something up that is no stream of bytes: a handle of a vendor's library."""

from __future__ import annotations

import cnx


class Camera:
    """Stands in for the vendor's library."""

    def __init__(self, serial: str) -> None:
        if serial != "A1":
            raise OSError(f"no camera {serial}")

    def grab(self) -> bytes:
        """Return a picture."""
        return b"\x00\x7f\xff"

    def close(self) -> None:
        """Release the camera."""


class CameraConnection(cnx.Connection):
    """A connection to a camera."""

    def __init__(self, serial: str) -> None:
        self._serial = serial
        self._camera: Camera | None = None

    def try_connect(self) -> bool:
        """Open the camera."""
        self.disconnect()
        self._camera = Camera(self._serial)
        return True

    def disconnect(self) -> None:
        """Close the camera."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def teardown(self) -> None:
        """Nothing is left to release."""

    def picture(self) -> bytes:
        """Return a picture. A failure is an alarm, so a manager opens the camera again."""
        if self._camera is None:
            raise cnx.NotConnected(f"camera {self._serial} is not open")
        try:
            return self._camera.grab()
        except OSError as error:
            self.raise_alarm(error)
            raise


if __name__ == "__main__":
    with cnx.ConnectionManager(CameraConnection("A1")) as manager:
        print(manager, manager.connection.connected)
        print(manager.connection.picture())
    try:
        CameraConnection("B2").connect()
    except OSError as error:
        print("not connected:", error)
