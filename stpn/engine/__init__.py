"""Training, checkpoints, configuration files and use on a video: what the scripts call."""
