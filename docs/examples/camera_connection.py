"""Connect to something that is no stream of bytes: a handle of a vendor's library."""

from __future__ import annotations

import threading
from typing import Any

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
    """A camera; thread-safe."""

    def __init__(self, serial: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._serial = serial
        self._camera: Camera | None = None
        self._lock = threading.RLock()

    @property
    def address(self) -> str:
        """Which camera."""
        return f"camera {self._serial}"

    @property
    def connected(self) -> bool:
        """Whether it is open."""
        return self._camera is not None

    def establish(self, deadline: cnx.Deadline) -> None:
        """Open the camera."""
        try:
            self._camera = Camera(self._serial)
        except OSError as error:
            raise cnx.ConnectError(f"cannot open {self.address}: {error}") from error

    def announce(self) -> None:
        """Tell that it is there."""
        cnx.emit(self, self.Signals.CONNECTED)

    def release(self, reason: BaseException, timeout: float) -> None:
        """Close the camera, once, and tell the end."""
        with self._lock:
            camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()
            self.tell_end(reason)

    def picture(self) -> bytes:
        """Return a picture; a failure is an alarm, so that a manager opens the camera anew."""
        camera = self._camera
        if camera is None:
            raise cnx.NotConnected(f"{self.name} is not connected")
        try:
            return camera.grab()
        except OSError as error:
            lost = cnx.ConnectionLost(f"{self.name}: {error}")
            self.raise_alarm(lost)
            raise lost from error


if __name__ == "__main__":
    with cnx.ConnectionManager(CameraConnection("A1")) as manager:
        print(manager, manager.connection.picture())
    missing = CameraConnection("B2")
    print(missing.try_connect(), missing.last_error)
