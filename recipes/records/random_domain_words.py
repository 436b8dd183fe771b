"""The words of random domains: what an entity can be, what it can have, what can be done to it, and how to say so.

In wordings and questions NOUN stands for the attribute, BASE and DONE for the two forms of a verb ("repair" and
"repaired"), AT for the word before a time; the placeholders in braces are explained in record_schema.py.
"""

from __future__ import annotations


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in " ".join(text.split()).split(","))


KINDS = _phrases(
    """abbey, airfield, almshouse, aqueduct, archive, arena, bakery, ballroom, bandstand, barge, barn, barracks,
    bathhouse, battery, beacon, belfry, boathouse, boiler, brewery, brickworks, bungalow, bunker, cabin,
    campsite, canal, canteen, caravan, carousel, cave, cellar, cemetery, chapel, chapter, chest, choir, cinema,
    circus, cistern, clinic, cloister, college, colony, column, committee, compass, convent, copper mine,
    cottage, crane, creamery, dam, diary, ditch, dock, dormitory, drawbridge, dredger, embassy, engine, estate,
    factory, ferry, fish pond, flagpole, foundry, fountain, garage, gasworks, gatehouse, glacier, granary,
    greenhouse, guild, gymnasium, hangar, hermitage, hospice, ice rink, inn, jetty, kiln, laundry, loom, manor,
    market, meadow, mill, monastery, monument, mortar, nursery, oasis, observatory, orchard, organ, outpost,
    paddock, pavilion, pier, plantation, pottery, printing press, project, pump, quarry, ranch, reactor,
    refinery, regiment, reservoir, ropeworks, sanctuary, satellite, sawmill, scholarship, seminary, shrine,
    silo, smithy, society, stable, stadium, statue, steam hammer, street, studio, submarine, sundial, swimming
    pool, tannery, tavern, telescope, terrace, toll gate, tower, tunnel, vault, vehicle, vineyard, wagon,
    watermill, well, wharf, windmill, workshop, yacht, zoo"""
)

NAME_SYLLABLES = (
    _phrases(
        "Al, Bel, Cor, Dra, El, Fen, Gal, Hol, Ist, Jun, Kar, Lum, Mor, Nel, Or, Pel, Quo, Ran, Sol, Tev, Ul, Vor"
    ),
    _phrases("a, e, i, o, ba, de, gi, ko, la, mi, no, ra, se, ta, va"),
    _phrases("bor, dan, dell, fax, gard, hurn, lin, mar, mond, nia, nor, ra, rix, sa, stra, tan, thos, va, vik, zar"),
)

# Whatever an attribute is called, some of these fit before it: "the second owner", "the winter tariff".
MODIFIERS = _phrases(
    """first, second, third, former, present, official, main, usual, local, winter, summer, earliest, latest,
    northern, southern, upper, lower, original, temporary, honorary"""
)

NOUNS_BY_KIND: dict[str, tuple[str, ...]] = {
    "full_name": _phrases(
        """owner, founder, guardian, tenant, heir, sponsor, patron, chairman, treasurer, secretary, inspector,
        architect, builder, surveyor, supervisor, caretaker, steward, warden, agent, landlord, rival, witness,
        spokesman, trustee, adviser, deputy, overseer, auditor, chaplain, gatekeeper, bookkeeper, negotiator,
        godfather, proprietor"""
    ),
    "other_surname": _phrases(
        "manager, director, foreman, contractor, engineer, lawyer, accountant, doctor, creditor, lessee"
    ),
    "saint": _phrases("patron saint, protector, name day, chapel saint"),
    "firm": _phrases(
        """supplier, insurer, manufacturer, customer, bank, publisher, shipping agent, cleaning firm, competitor,
        parent firm"""
    ),
    "newspaper": _phrases("newspaper, favourite paper, press partner"),
    "prize": _phrases("award, trophy, medal, distinction"),
    "place": _phrases(
        """birthplace, seat, head office, sister city, meeting place, storage site, place of origin, archive town"""
    ),
    "other_town": _phrases(
        "nearest town, parish, post town, home town, branch office, sales office, postal address, refuge"
    ),
    "country": _phrases("country of origin, export market, flag state, adopted country, main buyer, trade partner"),
    "river": _phrases("water source, river, boundary, nearest river, outlet"),
    "address": _phrases("address, mailing address, workshop address, collection point, assembly point"),
    "street": _phrases("street, access road, shopping street, back entrance, emergency exit"),
    "date": _phrases(
        """opening date, closing date, date of sale, due date, delivery date, renewal date, date of transfer,
        anniversary, founding date, day of inspection, date of signature"""
    ),
    "calendar_day": _phrases("feast day, holiday, market day, memorial day, open day"),
    "month_of_year": _phrases("starting month, completion, last payment, last renovation"),
    "any_year": _phrases("origin year, construction year, purchase year, vintage, jubilee year, closure year"),
    "weekday": _phrases("rest day, cleaning day, pay day, delivery day, visiting day, quiet day"),
    "hour": _phrases("closing time, opening time, curfew, starting time, lunch hour, time of collection, last entry"),
    "code": _phrases(
        """serial number, licence, permit, reference, inventory number, model, registration, account number, key
        number, badge"""
    ),
    "plate": _phrases("number plate, call sign, radio code, file number"),
    "phone": _phrases("telephone, emergency number, fax number, hotline"),
    "version": _phrases("version, firmware, software release, revision"),
    "amount": _phrases(
        """price, rent, debt, budget, turnover, tax, fine, deposit, purchase price, annual profit, repair bill,
        insured sum"""
    ),
    "fee": _phrases("tariff, entrance fee, toll, membership fee, hourly rate, postage, surcharge, discount, tip"),
    "large_sum": _phrases("endowment, fortune, building cost, share capital"),
    "percent": _phrases("interest rate, commission, humidity, market share, occupancy, failure rate"),
    "metres": _phrases("depth, length, width, height, diameter, draught, wingspan, perimeter, headroom"),
    "altitude": _phrases("altitude, elevation, highest point"),
    "kilometres": _phrases("range, distance, reach, radius, daily mileage"),
    "hectares": _phrases("area, estate, grounds, surface area"),
    "kilos": _phrases("weight, payload, maximum load, daily output, harvest"),
    "tonnes": _phrases("tonnage, annual output, ore reserve"),
    "litres": _phrases("capacity, fuel tank, daily water use, volume"),
    "minutes": _phrases("waiting time, warm-up time, running time, response time"),
    "months": _phrases("guarantee, notice period, lease term, building time"),
    "span_of_years": _phrases("age, life span, service life, term of office"),
    "degrees": _phrases("temperature, tilt, boiling point, bearing"),
    "hundreds": _phrases("number of members, seating, workforce, number of steps, number of windows, circulation"),
    "thousands": _phrases("population, number of visitors, print run, number of copies, daily traffic"),
    "colour": _phrases("colour, roof colour, flag, uniform, door colour, paint, seal colour"),
    "shade": _phrases("shade, wall colour, trim, lining, background"),
    "material": _phrases("material, frame, floor, roof, coating, foundation"),
    "tree": _phrases("timber, emblem tree, hedge, shade tree"),
    "flower": _phrases("flower, emblem flower, garland"),
    "gem": _phrases("gemstone, birthstone, ornament"),
    "animal": _phrases("mascot, heraldic animal, symbol, logo"),
    "bird": _phrases("emblem bird, weathervane, totem"),
    "dog_name": _phrases("guard dog, watchdog"),
    "fault": _phrases("defect, known fault, last repair, main complaint, weak point"),
    "reason": _phrases("reason for closure, cause of delay, excuse, setback"),
    "tool": _phrases("tool, implement, logo tool"),
    "drink": _phrases("drink, house drink, toast"),
    "food": _phrases("speciality, favourite dish, main export, festive meal, ration"),
    "spice": _phrases("seasoning, secret ingredient"),
    "language": _phrases("language, working language, second language, inscription language"),
    "topic": _phrases("theme, motto topic, purpose, area of interest"),
    "mood": _phrases("character, reputation, temper"),
    "dance": _phrases("signature tune, anthem style, opening dance"),
    "profession": _phrases("target group, most wanted worker, founding trade"),
}

# Questions that ask for one noun in other words than its own.
OTHER_QUESTIONS: dict[str, tuple[str, ...]] = {
    "owner": ("Who owns {n}?", "Whose property is {n}?", "To whom does {n} belong?"),
    "founder": ("Who founded {n}?", "Who set up {n}?"),
    "tenant": ("Who rents {n}?", "Who is living in {n} for rent?"),
    "heir": ("Who will inherit {n}?", "Who gets {n} one day?"),
    "architect": ("Who drew up {n}?", "Who designed {n}?"),
    "builder": ("Who built {n}?", "Who put up {n}?"),
    "manager": ("Who manages {n}?", "Who runs {n}?"),
    "supplier": ("Who supplies {n}?", "Where does {n} buy its goods?"),
    "insurer": ("Who insures {n}?", "With whom is {n} insured?"),
    "address": ("Where can I find {n}?", "Where does the mail for {n} go?"),
    "nearest town": ("Which town is closest to {n}?", "What town lies near {n}?"),
    "opening date": ("When did {n} open?", "On what date was {n} opened?"),
    "closing date": ("When did {n} close?", "On what date was {n} shut?"),
    "date of sale": ("When was {n} sold?", "When did {n} change hands?"),
    "anniversary": ("When does {n} celebrate?",),
    "construction year": ("When was {n} built?", "How old is {n}, from which year?"),
    "opening time": ("When does {n} open in the morning?", "From when can one enter {n}?"),
    "closing time": ("When does {n} close?", "Until when is {n} open?"),
    "telephone": ("How can I call {n}?", "What do I dial for {n}?"),
    "price": ("How much is {n}?", "What does {n} cost?", "How much money buys {n}?"),
    "rent": ("How much is paid to rent {n}?", "What does it cost to rent {n}?"),
    "debt": ("How much does {n} owe?", "What must {n} still pay back?"),
    "tax": ("How much tax is paid for {n}?", "What does {n} pay the state?"),
    "fine": ("How much was {n} fined?", "What did {n} pay as a penalty?"),
    "entrance fee": ("What does it cost to enter {n}?", "How much is it to get into {n}?"),
    "depth": ("How deep is {n}?", "How far down does {n} go?"),
    "length": ("How long is {n}?", "How many metres long is {n}?"),
    "width": ("How wide is {n}?", "How broad is {n}?"),
    "height": ("How tall is {n}?", "How high is {n}?"),
    "weight": ("How heavy is {n}?", "How much does {n} weigh?"),
    "area": ("How large is {n}?", "How much ground does {n} take up?"),
    "age": ("How old is {n}?", "For how long has {n} existed?"),
    "capacity": ("How much does {n} hold?", "How many litres fit into {n}?"),
    "temperature": ("How warm is {n}?", "How hot does it get in {n}?"),
    "population": ("How many people live in {n}?", "How many inhabitants has {n}?"),
    "number of members": ("How many members has {n}?", "How many people joined {n}?"),
    "number of visitors": ("How many people visit {n}?", "How many guests come to {n}?"),
    "workforce": ("How many people work for {n}?", "How many workers has {n}?"),
    "distance": ("How far away is {n}?", "How many kilometres is it to {n}?"),
    "altitude": ("How high up is {n}?", "How far above the sea is {n}?"),
    "waiting time": ("How long must one wait for {n}?", "How many minutes is the wait for {n}?"),
    "colour": ("Which colour has {n}?", "What colour is {n}?", "How is {n} coloured?"),
    "material": ("What is {n} made from?", "From what was {n} made?"),
    "roof": ("What covers {n}?",),
    "mascot": ("Which beast brings luck to {n}?",),
    "guard dog": ("Which dog watches over {n}?",),
    "defect": ("What is wrong with {n}?", "What ails {n}?"),
    "reason for closure": ("Why was {n} closed?", "Why did {n} shut?"),
    "cause of delay": ("Why was {n} late?", "What held {n} up?"),
    "language": ("What do they speak at {n}?",),
    "water source": ("Where does {n} get its water?",),
    "setback": ("What went badly for {n}?",),
}

NOUN_PHRASES = (
    "has {v} for {q} NOUN",
    "has {v} as {q} NOUN",
    "gives {q} NOUN as {v}",
    "lists {v} under NOUN",
    "is down for {v} as NOUN",
    "shows {v} in the field for the NOUN",
)
NOUN_SENTENCES = (
    "the NOUN of {o} is {v}",
    "{p} NOUN is {v}",
    "as to {p} NOUN, it is {v}",
    "for {o} the NOUN is {v}",
    "the register gives {v} as the NOUN of {o}",
    "with {o} the NOUN turns out to be {v}",
    "according to the file, the NOUN of {o} is {v}",
    "as far as we know {v} is the NOUN of {o}",
    "people who ask about {p} NOUN hear {v}",
    "under NOUN the page about {o} says {v}",
    "when it comes to the NOUN, {s} has {v}",
    "whoever looks up the NOUN of {o} will find {v}",
    "nobody doubts that the NOUN of {o} is {v}",
    "at the last check {p} NOUN was {v}",
    "{p} NOUN, so the notes say, is {v}",
    "we know the NOUN of {o}, which is {v}",
    "ask for the NOUN of {o} and you are told {v}",
    "on the form {v} is entered as the NOUN of {o}",
    "a clerk put down {v} for {p} NOUN",
    "there is {v} as the NOUN of {o}",
    "since the spring {v} has been the NOUN of {o}",
    "what {s} has as its NOUN is {v}",
    "of all there is to say about {o}, the NOUN comes first, and it is {v}",
    "they settled on {v} as the NOUN of {o}",
    "{p} papers mention {v} as the NOUN",
    "concerning {o}, its NOUN stands at {v}",
    "in the column headed NOUN, {s} has {v}",
    "records confirm {v} to be {p} NOUN",
)
NOUN_QUESTIONS = (
    "What is the NOUN of {n}?",
    "What is {np} NOUN?",
    "Which NOUN does {n} have?",
    "What NOUN does {n} have?",
    "What NOUN has {n}?",
    "Tell me the NOUN of {n}.",
    "I would like to know the NOUN of {n}.",
    "Can you give me {np} NOUN?",
    "Do you know the NOUN of {n}?",
    "What does the file give as the NOUN of {n}?",
    "Name the NOUN of {n}.",
    "The NOUN of {n} is what?",
    "What was noted as the NOUN of {n}?",
    "For {n}, what is the NOUN?",
    "What should I write down as the NOUN of {n}?",
    "Look up {np} NOUN for me.",
    "How is the NOUN of {n} stated?",
    "What do we know about {np} NOUN?",
    "Someone asked for {np} NOUN. What is it?",
    "Please find out {np} NOUN.",
    "What have they got as NOUN for {n}?",
    "About {n}: which NOUN is mentioned?",
)
PERSON_NOUN_QUESTIONS = (
    "Who is the NOUN of {n}?",
    "Who is {np} NOUN?",
    "Who acts as the NOUN of {n}?",
    "Whom does {n} have as its NOUN?",
    "What is the NOUN of {n} called?",
    "Tell me who the NOUN of {n} is.",
)
PERSON_KINDS = ("full_name", "other_surname")

# Verbs whose past tense is also their participle, so that one form serves "repaired it" and "was repaired".
_REGULAR_VERBS = _phrases(
    """repair, inspect, paint, clean, measure, photograph, visit, restore, rename, bless, polish, weigh, test,
    describe, register, purchase, rescue, discover, invent, assemble, repaint, improve, order, award, sketch,
    defend, attack, damage, mortgage, praise, criticise, honour, adopt, open, close, move, replace, enlarge,
    approve, reject, record, observe, guard, seal, search, flood, evacuate, connect, enter, sponsor, borrow,
    return, hire, claim, renovate, launch, protect, dismantle, audit, fumigate, survey, count, lock, unlock,
    abandon, capture, liberate, ransack, auction, advertise, redesign, lease, list, warm, cool, decorate,
    modernise, demolish, shorten, film, recommend"""
)
_OTHER_VERBS = {
    "certify": "certified",
    "map": "mapped",
    "plan": "planned",
    "occupy": "occupied",
    "empty": "emptied",
    "cancel": "cancelled",
    "fit out": "fitted out",
    "sell": "sold",
    "buy": "bought",
    "find": "found",
    "lose": "lost",
    "build": "built",
    "rebuild": "rebuilt",
    "lend": "lent",
    "sweep": "swept",
    "bring back": "brought back",
    "set up": "set up",
}
VERBS: dict[str, str] = {base: base + ("d" if base.endswith("e") else "ed") for base in _REGULAR_VERBS} | _OTHER_VERBS

# A role of a verb: its card label, the kinds of its values, then how it is told and asked.
AGENT_KINDS = ("full_name", "full_name", "other_surname", "firm")
AGENT_PHRASES = ("was DONE by {v}", "had to be DONE by {v}", "was later DONE by {v}")
AGENT_SENTENCES = (
    "{v} DONE {o}",
    "it was {v} who DONE {o}",
    "some say that {v} DONE {o} alone",
    "we must thank {v}, who DONE {o}",
    "nobody but {v} has ever DONE {o}",
    "whoever saw how {v} DONE {o} will not forget it",
    "the task fell to {v}, and so {s} was DONE",
    "in the end {v} came and DONE {o}",
    "long before the rest of us {v} had DONE {o}",
)
AGENT_QUESTIONS = (
    "Who DONE {n}?",
    "By whom was {n} DONE?",
    "Who was it that DONE {n}?",
    "Tell me who DONE {n}.",
    "I would like to know who DONE {n}.",
    "Do you know who DONE {n}?",
    "Whom must we thank because {n} was DONE?",
    "Who is known to have DONE {n}?",
    "Find the name of those who DONE {n}.",
    "Which name goes with how {n} was DONE?",
)
PLACE_KINDS = ("place", "other_town", "country")
PLACE_PHRASES = ("was DONE in {v}", "had to be DONE in {v}", "got DONE somewhere in {v}")
PLACE_SENTENCES = (
    "they DONE {o} in {v}",
    "in {v} {s} was DONE at last",
    "experts from {v} DONE {o}",
    "the place where {s} was DONE is {v}",
    "it was in {v} that {s} got DONE",
    "a firm in {v} DONE {o} without delay",
    "far from here, in {v}, {s} was DONE",
)
PLACE_QUESTIONS = (
    "Where was {n} DONE?",
    "Where did they BASE {n}?",
    "In which place was {n} DONE?",
    "Tell me where {n} was DONE.",
    "At what place was {n} DONE?",
    "Do you know where {n} was DONE?",
    "I would like to know where they DONE {n}.",
    "What is the name of the place where {n} was DONE?",
)
# The kind of a time and the word before it.
TIME_KINDS = {"any_year": "in", "month_of_year": "in", "date": "on", "weekday": "on", "calendar_day": "on"}
TIME_PHRASES = ("was DONE AT {v}", "had to be DONE AT {v}", "was for the first time DONE AT {v}")
TIME_SENTENCES = (
    "AT {v} {s} was DONE",
    "they DONE {o} AT {v}",
    "the people who DONE {o} came AT {v}",
    "AT {v} a team from outside DONE {o}",
    "it was AT {v} that {s} got DONE",
    "a note says that {s} was DONE AT {v}",
    "not before {v} was {o} DONE",
)
TIME_QUESTIONS = (
    "When was {n} DONE?",
    "When did they BASE {n}?",
    "Tell me when {n} was DONE.",
    "Do you know when {n} was DONE?",
    "I would like to know when they DONE {n}.",
    "From when is the note that {n} was DONE?",
    "Since when has {n} been DONE?",
    "What is the time given for when {n} was DONE?",
)
COUNT_PHRASES = ("was DONE {v} times", "has so far been DONE {v} times")
COUNT_SENTENCES = (
    "they DONE {o} {v} times",
    "in all {s} was DONE {v} times",
    "records show that {s} was DONE {v} times",
    "no fewer than {v} times somebody DONE {o}",
)
COUNT_QUESTIONS = (
    "How many times was {n} DONE?",
    "How often was {n} DONE?",
    "How many times did they BASE {n}?",
    "Tell me how often {n} was DONE.",
    "What is the number of times that {n} was DONE?",
)
COST_PHRASES = ("was DONE for {v}", "cost {v} to be DONE")
COST_SENTENCES = (
    "it took {v} before {s} was DONE",
    "somebody paid {v} so that {s} was DONE",
    "the bill for how {s} was DONE came to {v}",
    "for {v} they DONE {o}",
)
COST_QUESTIONS = (
    "How much was paid so that {n} was DONE?",
    "What did it cost when {n} was DONE?",
    "For how much was {n} DONE?",
    "How much money did it take to BASE {n}?",
    "What was the bill when they DONE {n}?",
)
