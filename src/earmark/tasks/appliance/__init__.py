"""The task `appliance`: which machines run in one room, by the sound at one microphone."""
