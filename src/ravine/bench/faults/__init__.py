"""The fault campaign: what is promised of kills, torn checkpoints, full disks and busy stores, tried many times."""
