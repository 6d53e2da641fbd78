"""The one door to PyDispatcher: subscribing and emitting."""

from cnx.signals.emitter import Emitter
from cnx.signals.subscriptions import Signal, Subscription, emit, has_subscribers, subscribe

__all__ = ["Emitter", "Signal", "Subscription", "emit", "has_subscribers", "subscribe"]
