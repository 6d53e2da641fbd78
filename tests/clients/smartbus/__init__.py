"""Tests of the SmartBus client, its protocol and its bus server."""
