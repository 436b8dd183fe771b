"""Pools of values put together from parts (names, dates, codes, sums, measures, addresses) and more pools of words.

A composed pool is a sequence that makes its values when they are drawn, so a pool of a million costs nothing. It does
not know which domain uses it. Full names have surnames that no person of `record_pools.SURNAMES` has, so no value is
the name of a person whom a test asks about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import record_pools as pools


class ComposedPool(Sequence[str]):
    """Every way to fill the template's {} with one word of each part, in order; made on demand."""

    def __init__(self, template: str, *parts: Sequence[str]) -> None:
        self._template = template
        self._parts = parts
        self._len = 1
        for part in parts:
            self._len *= len(part)

    def __len__(self) -> int:
        return self._len

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(self._len)))
        if not 0 <= index < self._len:
            raise IndexError(f"wanted 0 to {self._len - 1}; came {index}")
        chosen: list[str] = []
        for part in reversed(self._parts):
            index, position = divmod(index, len(part))
            chosen.append(part[position])
        return self._template.format(*reversed(chosen))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in " ".join(text.split()).split(","))


def _numbers(*bounds: int) -> tuple[str, ...]:
    return tuple(f"{number:,}" for number in range(*bounds))


OTHER_SURNAMES = _words(
    """Abernathy Ackroyd Alcott Appleby Arkwright Ashdown Babington Bagshaw Bannister Barraclough Beaumont Bellamy
    Birtwistle Blackwood Blenkinsop Bosworth Braithwaite Bramley Brewster Broadbent Buckley Cadwell Calloway
    Carmichael Cartwright Chadwick Chamberlain Clifford Colville Copeland Corrigan Coverdale Crawshaw Cresswell
    Crompton Culpepper Dalrymple Darlington Davenport Delacroix Dewhurst Drummond Dunmore Eastwood Eccles
    Ellsworth Fairbanks Fairweather Falkner Fanshawe Farnsworth Featherstone Fenwick Fitzroy Gallagher Garfield
    Gatsby Gilchrist Goodwin Greenhalgh Grimshaw Halloran Hargreaves Harkness Hathaway Haverford Hawthorne
    Hazlitt Heywood Higginbotham Hobson Hollister Holloway Huxley Inglewood Jessop Kavanagh Kendrick Kershaw
    Kilbride Kingsley Kirkwood Lancaster Langley Lockwood Longfellow Lovell Lowell Ludlow Macaulay Mainwaring
    Mallory Marchbanks Marlowe Mayfield Merriweather Middleton Montague Mortimer Mulligan Nesbitt Nightingale
    Norwood Oakley Ogilvie Osgood Oxley Paget Pemberton Penhallow Pennington Percival Pettigrew Pickering
    Pomeroy Prescott Pritchard Quigley Radcliffe Rainsford Ransome Redfern Ridgeway Rockwell Rothwell Rutherford
    Satterfield Saville Selby Shackleton Sheffield Sheridan Sinclair Somerset Southgate Stanhope Sterling
    Stockton Strickland Sunderland Swinburne Tattersall Tennant Thackeray Thistlewood Thornbury Tilbury Townsend
    Tremaine Trevelyan Underwood Vandermeer Venables Wadsworth Wainwright Wakefield Waverley Wetherby Whitaker
    Whitcombe Wickham Willoughby Winterbourne Woodhouse Wyndham Yardley"""
)
_TOWN_STARTS = _words(
    """Amble Arn Bal Bar Bex Bos Brad Bux Cam Car Chal Chud Cor Crav Dal Dent Dor Drax Ed Ems Far Fel Frod Gar Gis
    Hal Hes Hex Ilk Jar Kel Kes Kirk Lam Led Lim Lut Mar Mel Mid Nor Oak Orm Pad Pen Pick Quen Rad Rip Roth Sed
    Shel Skip Tad Tam Thir Tor Ulver Wal Wed Wig Yar"""
)
_TOWN_ENDS = _words(
    """aby acre bach beck borough bost cliffe cote craig dean dyke ely fold garth grave hithe holm ingham ingley
    ington kirk land law leigh lock marsh ness over rith royd sett sley stow strand sworth thorpe thwaite tree
    wade wich worthy"""
)
OTHER_TOWNS = ComposedPool("{}{}", _TOWN_STARTS, _TOWN_ENDS)
_STREET_STARTS = _words(
    """Abbey Acorn Anchor Baker Bell Bishop Candle Castle Chapel Church Cooper Cross Dock Dyer Fountain Garden Gate
    Hill Kiln King Ladder Lantern Market Mill Mint Monk Oak Orchard Paradise Park Pepper Pilgrim Pump Quay Queen
    Rope Saddler School Ship Spring Stable Tanner Temple Tower Vine Wall Well Windmill"""
)
_STREET_ENDS = _words("Street Lane Road Square Hill Row Alley Court Parade Terrace Walk Yard")
_LETTERS = tuple("ABCDEFGHJKLMNPRSTUVWXYZ")
_MINUTES = tuple(f"{minute:02d}" for minute in range(0, 60, 5))
_DAYS = _numbers(1, 29)
_YEARS = tuple(str(year) for year in range(1801, 2025))
_CURRENCIES = _words("crowns euros francs pounds florins guilders rupees pesos shillings ducats")
_SHADES = _words("pale dark light deep bright dusty faded glossy")
_FAULT_STARTS = _words(
    "cracked leaking loose bent rusty broken blocked missing worn frozen noisy burnt warped torn dented rotten"
)
_FAULT_PARTS = _words(
    """hinge valve axle hose pump bolt spring cable gasket bearing chain filter lever pipe wheel bracket fuse
    pulley tank switch rope gear screw lid"""
)
_PRIZES = _words(
    "Spoon Trumpet Feather Quill Hammer Thimble Saddle Apple Wheel Harp Bell Ladder Candle Leaf Shell Key Ladle Goblet"
)
_METALS = _words("Golden Silver Bronze Copper Crystal Iron Amber Ivory Ruby Pearl Jade Emerald")
_PAPER_STARTS = _words("Evening Morning Daily Weekly Sunday County Northern Southern Island Harbour Valley City")
_PAPER_ENDS = _words("Journal Post Mirror Gazette Courier Echo Tribune Chronicle Argus Observer Standard Mail Bulletin")
_FIRMS = _phrases("and Sons, Brothers, and Company, and Partners, and Daughters, Limited")
_OPENINGS = _words("Gambit Defence Attack Opening Variation")
_BEASTS = _words("Dragon Bishop Hedgehog Elephant Pelican Spider Panther Scorpion Falcon Crocodile Tiger Swan Cobra")

FLOWERS = _words(
    """roses tulips lilies daisies violets irises peonies poppies pansies dahlias asters orchids crocuses snowdrops
    bluebells buttercups camellias carnations cornflowers cyclamens daffodils foxgloves freesias fuchsias
    gardenias geraniums gladioli heather hollyhocks honeysuckle hyacinths hydrangeas jasmine larkspur lavender
    lilac lupins magnolias marigolds petunias phlox primroses snapdragons sunflowers sweetpeas verbena wisteria
    zinnias"""
)
TREES = _words(
    """alder apple ash aspen beech birch cedar cherry chestnut cypress ebony elder elm eucalyptus fig fir hawthorn
    hazel hickory holly hornbeam juniper larch laurel lemon lime magnolia mahogany maple mulberry oak olive palm
    pear pine plane plum poplar rowan spruce sycamore walnut willow yew"""
)
SPICES = _words(
    """aniseed basil bayleaf caraway cardamom cayenne chervil chilli chives cinnamon cloves coriander cumin dill
    fennel fenugreek garlic ginger horseradish juniper lavender lemongrass lovage mace marjoram mint mustard
    nutmeg oregano paprika parsley pepper rosemary saffron sage salt savory sesame sumac tamarind tarragon thyme
    turmeric vanilla"""
)
DRINKS = _words(
    """absinthe ale beer brandy buttermilk champagne cider cocoa coffee cognac cola cordial eggnog espresso gin
    grenadine grog kefir lager lemonade limeade liqueur madeira mead milk mocha perry port porter prosecco punch
    rum sake sherbet sherry stout tea tequila tonic vermouth vodka water whisky wine"""
)
LANGUAGES = _words(
    """Albanian Arabic Armenian Basque Bengali Breton Bulgarian Catalan Chinese Cornish Croatian Czech Danish Dutch
    Estonian Finnish Flemish French Frisian Gaelic Galician Georgian German Greek Hebrew Hindi Hungarian
    Icelandic Italian Japanese Khmer Korean Latin Latvian Lithuanian Maltese Maori Mongolian Nepali Norwegian
    Occitan Persian Polish Portuguese Romanian Russian Sardinian Serbian Slovak Spanish Swahili Swedish Tamil
    Thai Tibetan Turkish Ukrainian Urdu Vietnamese Welsh Yiddish Zulu"""
)
SUBJECTS = _words(
    """algebra anatomy archery art astronomy ballet biology bookkeeping botany calligraphy carpentry ceramics
    chemistry chess choir cookery dancing debating drama drawing economics embroidery fencing geography geology
    geometry grammar gymnastics history judo knitting law logic mathematics mechanics music painting philosophy
    photography physics poetry politics psychology rhetoric rowing sculpture sewing singing spelling statistics
    swimming theology typing weaving woodwork zoology"""
)
BIRDS = _words(
    """albatross bittern blackbird bullfinch buzzard chaffinch cormorant crane crow cuckoo curlew dove eagle falcon
    finch gannet goldfinch grebe gull hawk heron ibis jackdaw jay kestrel kingfisher lapwing lark linnet magpie
    martin nightingale nuthatch oriole osprey ostrich owl partridge peacock pelican penguin petrel pheasant
    plover puffin quail raven robin rook sandpiper skylark sparrow starling stork swallow swan swift tern thrush
    vulture warbler woodpecker wren"""
)
TOOLS = _words(
    """anvil axe bellows brush bucket chisel clamp compass cutter drill file funnel gauge grinder hammer hatchet
    hoe jack knife ladder lathe lever mallet needle pickaxe plane pliers plough pulley rake razor ruler saw
    scissors scraper screwdriver scythe shears shovel sickle sieve spade spanner spoon stapler thermometer tongs
    trowel tweezers vice wheelbarrow whetstone wrench"""
)
GEMS = _words(
    """agate amber amethyst beryl carnelian citrine coral diamond emerald garnet jade jasper jet lapis malachite
    moonstone obsidian onyx opal pearl peridot pyrite quartz ruby sapphire spinel sunstone topaz tourmaline
    turquoise zircon hematite sodalite kyanite"""
)
FISH = _words(
    """anchovies barbel bass bream brill carp catfish char cod crabs crayfish dab eels flounder grayling gudgeon
    haddock hake halibut herring lampreys ling lobsters mackerel minnows monkfish mullet mussels oysters perch
    pike pilchards plaice pollock prawns roach salmon sardines shrimps smelt sole sprats squid sturgeon tench
    trout tuna turbot whelks whiting zander"""
)
MILK_ANIMALS = _words(
    """cows goats sheep buffaloes yaks camels donkeys mares reindeer llamas zebus ewes heifers alpacas"""
)
TASTES = _words(
    """nutty smoky salty creamy earthy fruity peppery buttery sharp mild sour sweet bitter tangy grassy mellow
    spicy woody floral malty lemony toasty herbal meaty chalky tart honeyed mushroomy robust delicate pungent
    velvety"""
)
MOODS = _words(
    """angry bashful bold brave calm careful cheerful clever clumsy curious dreamy eager fearless gentle greedy
    grumpy jealous jolly kind lazy lively loyal moody nervous noisy patient playful polite proud quiet restless
    shy sleepy sly stubborn timid trusting vain wary wild"""
)
REASONS = _phrases(
    """heavy snow, a power cut, a broken lift, thick fog, a water leak, a lost key, a missing form, a strike, a
    flat tyre, high winds, a late delivery, a software fault, a gas leak, an unpaid bill, poor light, a wrong
    address, a road closure, a burst pipe, icy roads, a failed test, a double booking, low water, a fallen tree,
    a bomb scare, a sick guest, a lost passport, a price dispute, a spelling mistake, a mild earthquake, a swarm
    of bees, a torn label, a broken seal, a faulty alarm, a dust storm, a parts shortage, a flooded cellar, a
    bird strike, an empty battery, a customs check, a stuck door, a late signature, a budget cut, an expired
    permit, a noise complaint"""
)
BUILDINGS = _phrases(
    """barn, brewery, chapel, bakery, cinema, factory, firehouse, granary, hospital, hotel, warehouse, windmill,
    water tower, post office, town hall, stable, sawmill, school, prison, palace, monastery, market hall,
    library, lighthouse, ice house, gymnasium, greenhouse, garage, forge, customs house, courthouse, cottage,
    concert hall, college, castle, boathouse, ballroom, bank, tannery, theatre, pump house, paper mill,
    observatory, dairy, smithy, toll house"""
)
CHARGES = _phrases(
    """fraud, arson, libel, theft of cattle, forgery, smuggling, trespass, bribery, tax evasion, breach of
    contract, unpaid wages, reckless driving, false weights, perjury, poaching, piracy, blackmail, a boundary
    dispute, a disputed will, negligence, kidnapping, vandalism, embezzlement, a broken promise, water
    pollution, illegal fishing, insider trading, a faulty roof, identity theft, copyright theft, assault,
    burglary, contempt, extortion"""
)
DANCES = _words(
    """waltz tango polka foxtrot quickstep rumba samba mambo bolero minuet gavotte jig reel hornpipe flamenco
    mazurka polonaise galop tarantella charleston salsa bossa cancan conga fandango gigue habanera jitterbug
    lambada musette sarabande swing twist zouk ballad anthem lullaby march nocturne requiem serenade shanty
    carol"""
)

# Every kind of value there is: those of record_pools.py and the ones made here.
POOLS: dict[str, Sequence[str]] = {
    **pools.POOLS,
    "full_name": ComposedPool("{} {}", pools.FIRST_NAMES, OTHER_SURNAMES),
    "womans_name": ComposedPool("{} {}", pools.WOMEN, OTHER_SURNAMES),
    "other_surname": OTHER_SURNAMES,
    "other_town": OTHER_TOWNS,
    "saint": ComposedPool("Saint {}", pools.FIRST_NAMES),
    "firm": ComposedPool("{} {}", OTHER_SURNAMES, _FIRMS),
    "newspaper": ComposedPool("{} {}", _PAPER_STARTS, _PAPER_ENDS),
    "prize": ComposedPool("{} {}", _METALS, _PRIZES),
    "opening": ComposedPool("{} {}", _BEASTS, _OPENINGS),
    "date": ComposedPool("{} {} {}", _DAYS, pools.MONTHS, _YEARS),
    "calendar_day": ComposedPool("{} {}", _DAYS, pools.MONTHS),
    "month_of_year": ComposedPool("{} {}", pools.MONTHS, _YEARS),
    "any_year": _YEARS,
    "hour": ComposedPool("{}:{}", _numbers(5, 24), _MINUTES),
    "morning_hour": ComposedPool("{}:{}", _numbers(5, 12), _MINUTES),
    "evening_hour": ComposedPool("{}:{}", _numbers(15, 24), _MINUTES),
    "address": ComposedPool("{} {} {}", _numbers(2, 120), _STREET_STARTS, _STREET_ENDS),
    "street": ComposedPool("{} {}", _STREET_STARTS, _STREET_ENDS),
    "code": ComposedPool("{}{}-{}", _LETTERS, _LETTERS, tuple(str(number) for number in range(101, 1000))),
    "plate": ComposedPool("{} {}{}{}", tuple(str(n) for n in range(11, 100)), _LETTERS, _LETTERS, _LETTERS),
    "phone": ComposedPool(
        "{} {}", tuple(f"0{n}" for n in range(110, 990, 11)), tuple(str(n) for n in range(1003, 9999, 7))
    ),
    "version": ComposedPool("{}.{}.{}", _numbers(1, 20), _numbers(0, 30), _numbers(0, 10)),
    "frequency": ComposedPool("{}.{} megahertz", _numbers(87, 108), _numbers(0, 10)),
    "hundreds": tuple(str(number) for number in range(101, 1000)),
    "thousands": _numbers(1050, 99000, 50),
    "amount": ComposedPool("{} {}", _numbers(150, 20000, 50), _CURRENCIES),
    "fee": ComposedPool("{} {}", _numbers(3, 100), _CURRENCIES),
    "large_sum": ComposedPool("{} million {}", _numbers(2, 300), _CURRENCIES),
    "percent": ComposedPool("{} percent", _numbers(2, 99)),
    "metres": ComposedPool("{} metres", _numbers(3, 400)),
    "altitude": ComposedPool("{} metres", _numbers(1010, 7990, 10)),
    "kilometres": ComposedPool("{} kilometres", _numbers(5, 900)),
    "hectares": ComposedPool("{} hectares", _numbers(3, 600)),
    "tonnes": ComposedPool("{} tonnes", _numbers(3, 500)),
    "kilos": ComposedPool("{} kilos", _numbers(3, 700)),
    "grams": ComposedPool("{} grams", _numbers(15, 990, 5)),
    "litres": ComposedPool("{} litres", _numbers(3, 900)),
    "minutes": ComposedPool("{} minutes", _numbers(4, 180)),
    "hours": ComposedPool("{} hours", _numbers(2, 90)),
    "days": ComposedPool("{} days", _numbers(2, 120)),
    "weeks": ComposedPool("{} weeks", _numbers(2, 80)),
    "months": ComposedPool("{} months", _numbers(2, 80)),
    "span_of_years": ComposedPool("{} years", _numbers(2, 130)),
    "degrees": ComposedPool("{} degrees", _numbers(2, 260)),
    "light_years": ComposedPool("{} light years", _numbers(4, 3000)),
    "shade": ComposedPool("{} {}", _SHADES, pools.COLOURS),
    "fault": ComposedPool("{} {}", _FAULT_STARTS, _FAULT_PARTS),
    "flower": FLOWERS,
    "tree": TREES,
    "spice": SPICES,
    "drink": DRINKS,
    "language": LANGUAGES,
    "subject": SUBJECTS,
    "bird": BIRDS,
    "tool": TOOLS,
    "gem": GEMS,
    "fish": FISH,
    "milk_animal": MILK_ANIMALS,
    "taste": TASTES,
    "mood": MOODS,
    "reason": REASONS,
    "building": BUILDINGS,
    "charge": CHARGES,
    "dance": DANCES,
}


def has_values_for(kind: str, num_records: int, num_attributes: int) -> bool:
    """Whether a document of so many records can keep distinct the values of so many attributes of the kind."""
    return num_records == 1 or len(POOLS[kind]) >= num_records * num_attributes + 2
