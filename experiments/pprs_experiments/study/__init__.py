"""The study: experiments over seeds and methods, and what their figures say."""
