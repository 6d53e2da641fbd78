"""``cnx m2``: commands, telemetry and recordings of the M2 cell controller."""
