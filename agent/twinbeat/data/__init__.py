"""Files that are installed with the program: the systemd unit."""
