"""Training domains beyond the first eight, a file for each group; their wordings are in wordings.json."""

from record_schema import Domain

from more_domains.eating_and_staying import DOMAINS as _EATING_AND_STAYING
from more_domains.indirect import with_indirect_questions
from more_domains.music_and_stage import DOMAINS as _MUSIC_AND_STAGE
from more_domains.nature import DOMAINS as _NATURE
from more_domains.paperwork import DOMAINS as _PAPERWORK
from more_domains.public_life import DOMAINS as _PUBLIC_LIFE
from more_domains.science import DOMAINS as _SCIENCE
from more_domains.trade import DOMAINS as _TRADE
from more_domains.travel import DOMAINS as _TRAVEL
from more_domains.work_and_play import DOMAINS as _WORK_AND_PLAY

_DOMAINS = (
    _EATING_AND_STAYING
    + _MUSIC_AND_STAGE
    + _NATURE
    + _PAPERWORK
    + _PUBLIC_LIFE
    + _SCIENCE
    + _TRADE
    + _TRAVEL
    + _WORK_AND_PLAY
)

DOMAINS: tuple[Domain, ...] = tuple(with_indirect_questions(domain) for domain in _DOMAINS)
