"""The protocol of ThermoTek chillers, without input and output."""
