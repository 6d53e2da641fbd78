"""The last bytes of a connection in memory, and files for people and Wireshark."""
