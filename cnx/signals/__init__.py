"""The one door to PyDispatcher: subscribing and emitting."""

from cnx.signals.emitter import Emitter
from cnx.signals.subscriptions import Signal, SignalName, Subscription, emit, has_subscribers, subscribe

__all__ = ["Emitter", "Signal", "SignalName", "Subscription", "emit", "has_subscribers", "subscribe"]
