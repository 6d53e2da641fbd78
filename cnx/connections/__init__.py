"""What a user holds: connections to sockets, serial ports and datagrams, and how to make new kinds."""
