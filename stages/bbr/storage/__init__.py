"""Files on disk, whatever method made them: complete or absent, with digests and provenance."""
