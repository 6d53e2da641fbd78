"""``cnx chiller``: the commands for ThermoTek chillers."""
