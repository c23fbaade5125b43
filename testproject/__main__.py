"""``python -m testproject COMMAND``: Django's manage.py for this project."""

import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
execute_from_command_line(["testproject", *sys.argv[1:]])
