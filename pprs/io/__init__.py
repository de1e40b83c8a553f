"""What commands share: settings in files, and the folder of a run."""
