"""A Django project that uses django_bulkupsert: the demo, and the ground for the tests."""
