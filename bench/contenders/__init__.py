"""Those who run the same programs: nobody at all, a Celery chord, and Crucible's sweep."""
