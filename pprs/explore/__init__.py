"""A page to try limits and schedules in, offline, with a run of one's own laid over them."""

from pprs.explore.page import explore_page

__all__ = ["explore_page"]
