"""What turns the pages of docs/ into a site: used by docs/conf.py."""
