"""The client of SmartBus."""
