"""Images to soft labels: teachers, calibration, acceptance."""
