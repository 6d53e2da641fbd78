"""The protocol of SmartBus, without input and output."""
