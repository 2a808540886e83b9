"""The study: design, questionnaire, answers, statistics. No torch."""

from helpers.survey import answers, design, exports, figures, questionnaire, report, rules, simulation, statistics
from helpers.survey import widgets
