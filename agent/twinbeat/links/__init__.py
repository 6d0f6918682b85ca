"""What lies between a link's configuration and the real-time part: brokers, sockets, ports that come and go."""
