"""The commands ``cnx smartbus`` and ``cnx simulate smartbus``."""
