"""The client of ThermoTek chillers."""
