"""``python -m testproject COMMAND``: Django's manage.py for this project."""

import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
try:
    execute_from_command_line(["testproject", *sys.argv[1:]])
except KeyboardInterrupt:
    sys.exit("\nStopped.")
