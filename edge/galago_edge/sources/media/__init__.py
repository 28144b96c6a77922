"""Video, sound in containers and network streams, by PyAV (FFmpeg): packets with their own time stamps."""
