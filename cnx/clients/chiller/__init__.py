"""ThermoTek chillers (T257P and others): protocol, client, monitor, bus and simulator."""
