"""The study: design, questionnaire, answers, statistics. No torch."""

from helpers.survey import (
    answers,
    comments,
    design,
    figures,
    google_forms,
    mturk,
    pairs,
    pictures,
    questionnaire,
    report,
    rules,
    simulation,
    statistics,
    widgets,
)
