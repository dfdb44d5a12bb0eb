"""What pages and API know of a room: what `live appliance` told, and answers about recordings that were sent."""
