"""From this workstation to devices: by ssh, and to mounted disks."""
