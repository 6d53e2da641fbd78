"""The ``cnx`` command. It needs the extra ``cnx[cli]``."""
