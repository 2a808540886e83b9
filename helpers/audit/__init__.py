"""Who comes when nobody is named: pictures, counts, features, tags, and what helps."""

from helpers.audit import measure, mitigation, pictures, tagging
