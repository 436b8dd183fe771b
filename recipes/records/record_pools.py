"""Pools of values and name parts for the record documents: short, common English words and well-known place names."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WOMEN = _words(
    """Ada Agnes Alice Alma Amelia Amy Anna Astrid Beatrice Bella Bridget Carla Carmen Cecilia Chloe Clara Daisy Dana
    Diana Dora Edith Elena Ella Ellen Elsa Emily Emma Esther Eva Fatima Fiona Flora Freya Gloria Grace Greta
    Hanna Hazel Helen Ida Ines Irene Iris Ivy Jane Jenny Joan Julia June Karen Kate Laila Laura Lena Lily Linda
    Lucy Lydia Mabel Maria Martha Mary Maya Mei Mina Mira Molly Nadia Naomi Nina Nora Olga Olive Paula Pearl
    Rita Rosa Ruth Sara Selma Sofia Stella Susan Tara Vera Wendy Yuki Zoe"""
)
MEN = _words(
    """Aaron Abel Adam Ahmed Alan Albert Alex Amir Andre Anton Arthur Ben Boris Bruno Carl Cedric Colin Daniel David
    Dennis Diego Edgar Edwin Eli Emil Eric Ernest Felix Finn Frank Fred Gabriel George Gilbert Gus Hamid Harold
    Harry Hassan Hector Henry Hugo Ian Igor Ivan Jack Jacob James Jonas Josef Juan Karl Kenji Kevin Lars Leo
    Leon Liam Louis Luca Luke Magnus Marco Mark Martin Max Miles Milo Nathan Neil Nils Noah Oliver Omar Oscar
    Otto Pablo Paul Peter Philip Ravi Robert Robin Roland Samuel Simon Stefan Theo Thomas Tim Victor Walter
    Yusuf"""
)
FIRST_NAMES = WOMEN + MEN
SURNAMES = _words(
    """Abbott Adler Allen Archer Ashby Atkins Avery Bailey Baird Banks Barlow Barnes Barton Bates Bauer Baxter Becker
    Bell Benson Berg Bishop Blake Blum Bolton Booth Bowen Boyd Bradley Brandt Brooks Bryant Burke Burns Burton
    Byrne Callahan Campos Carey Carlson Carr Carter Castle Chan Chapman Chen Clark Clay Cole Collins Conrad
    Cooper Corbin Cortez Costa Craig Crane Cross Cruz Curtis Dalton Davis Dawson Dean Decker Delgado Denton Diaz
    Dixon Dolan Donovan Doyle Drake Duarte Duncan Dunn Eaton Edwards Ellis Emerson Engel Evans Farrell Ferris
    Fisher Fleming Fletcher Flynn Foley Forbes Ford Foster Fowler Franklin Fraser Frost Fuentes Fuller Gallo
    Garcia Garner Gibbs Gibson Glover Gomez Gordon Graham Grant Gray Griffin Grimes Gupta Hale Hall Hansen
    Harding Harper Harris Hart Hayes Heath Henson Herrera Hicks Hoffman Holland Holt Hooper Hopkins Horton
    Howard Hughes Hunt Hurst Ibarra Ingram Jackson Jansen Jenkins Jensen Johnson Jordan Kaplan Keller Kelly Kemp
    Kennedy Khan Kim Klein Knight Kramer Lambert Lane Larsen Lawson Lee Lind Lloyd Logan Lopez Lowe Lucas Lynch
    Mack Madsen Malone Mann Marsh Mason Mathis Mayer McCoy Medina Mendez Meyer Miller Mills Monroe Moore Morales
    Morgan Morris Moss Murphy Nash Nelson Newton Nolan Norris Novak Nunez Ochoa Olsen Osborne Owens Palmer
    Parker Patel Payne Perez Perry Peters Phelps Pierce Poole Porter Potts Powell Pratt Price Quinn Ramirez
    Ramsey Reed Reyes Rhodes Rivera Robbins Rogers Rojas Romero Rossi Rowe Russo Ryan Sanders Santos Sato
    Schmidt Scott Sharp Shaw Silva Singh Sloan Snyder Soto Sparks Stone Sutton Sweeney Tanaka Taylor Thorne Todd
    Torres Tucker Turner Tyler Vargas Vaughn Wagner Walker Wallace Walsh Walters Watkins Watson Weaver Webb
    Weiss Wells West Wheeler Wilkins Winters Wolfe Woods Yates York Young Zimmer"""
)
PLACES = _words(
    """Paris London Rome Madrid Lisbon Berlin Vienna Prague Dublin Oslo Warsaw Athens Cairo Tokyo Delhi Boston Chicago
    Denver Dallas Houston Miami Seattle Portland Austin Memphis Detroit Toronto Montreal Quebec Havana Lima
    Quito Bogota Santiago Sydney Perth Brisbane Auckland Nairobi Lagos Accra Tunis Algiers Dakar Istanbul Ankara
    Beirut Baghdad Tehran Kabul Karachi Mumbai Kolkata Dhaka Bangkok Hanoi Manila Jakarta Seoul Beijing Shanghai
    Osaka Kyoto Moscow Kiev Riga Vilnius Helsinki Stockholm Bergen Hamburg Munich Cologne Bremen Leipzig Dresden
    Zurich Geneva Basel Milan Venice Florence Naples Turin Genoa Seville Valencia Bilbao Porto Lyon Nice
    Marseille Bordeaux Nantes Brussels Antwerp Ghent Rotterdam Utrecht Bristol Leeds Glasgow Cardiff Belfast
    Liverpool Oxford Cambridge York Plymouth Cork Galway Zagreb Belgrade Sofia Budapest Krakow"""
)
COUNTRIES = _words(
    """France Spain Portugal Italy Germany Austria Poland Norway Sweden Denmark Finland Iceland Ireland Scotland
    England Wales Belgium Holland Greece Turkey Egypt Morocco Tunisia Kenya Ghana Nigeria Ethiopia India Nepal
    Pakistan China Japan Korea Vietnam Thailand Malaysia Indonesia Australia Canada Mexico Cuba Jamaica Peru
    Chile Brazil Bolivia Colombia Argentina Iran Iraq Syria Lebanon Jordan Russia Ukraine Hungary Romania
    Bulgaria Serbia Croatia Estonia Latvia Malta Cyprus"""
)
PROFESSIONS = _words(
    """baker teacher doctor nurse farmer tailor carpenter plumber lawyer judge painter writer singer dancer actor pilot
    sailor soldier cook butcher barber gardener miner driver mechanic engineer chemist dentist surgeon banker
    clerk cashier waiter librarian printer editor reporter poet potter weaver shoemaker blacksmith jeweller
    watchmaker glazier mason roofer welder electrician fisherman forester shepherd beekeeper brewer miller
    florist grocer postman porter guard detective fireman translator architect astronomer geologist historian
    photographer musician sculptor coach trainer"""
)
COLOURS = _words(
    """red blue green yellow white black grey brown pink purple orange silver gold crimson scarlet navy teal turquoise
    ivory cream beige amber bronze olive maroon violet lilac indigo coral peach lemon mint emerald ruby sapphire
    charcoal khaki tan mustard rust plum cherry rose lavender"""
)
MATERIALS = _words(
    """oak pine steel iron copper brass tin silver glass clay stone marble granite leather wool cotton silk linen paper
    cardboard plastic rubber bamboo walnut maple cherry ebony ivory bone wax felt velvet denim canvas cork slate
    zinc nickel aluminium titanium porcelain concrete straw rope jade pearl amber bronze"""
)
MONTHS = _words("January February March April May June July August September October November December")
WEEKDAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
YEARS = tuple(str(year) for year in range(1851, 2001))
COUNTS = tuple(str(count) for count in range(2, 100))
PRICES = tuple(f"{price} dollars" for price in range(5, 100))
TIMES = tuple(f"{hour}:{minute}" for hour in range(5, 24) for minute in ("10", "15", "20", "30", "40", "45", "50"))
FOODS = _words(
    """bread cheese butter rice pasta soup stew pizza salad honey jam cake pie pancakes waffles noodles dumplings beans
    lentils peas corn carrots potatoes onions garlic mushrooms tomatoes olives apples pears plums cherries
    grapes oranges lemons melons peaches berries nuts almonds walnuts peanuts eggs bacon ham sausages beef lamb
    chicken duck salmon tuna trout shrimp crab oysters chocolate toffee biscuits pudding porridge yoghurt curry"""
)
ANIMALS = _words(
    """cat dog horse donkey goat sheep cow pig rabbit hamster mouse rat parrot canary pigeon owl hawk eagle swan goose
    duck hen turtle lizard snake frog toad fox wolf bear deer badger otter beaver squirrel hedgehog bat mole
    seal whale dolphin shark lion tiger leopard monkey camel elephant giraffe zebra crow raven stork crane heron
    peacock bee"""
)
PETS = _words(
    """cat dog horse donkey goat sheep pony rabbit hamster mouse rat parrot canary pigeon owl hawk goose duck hen
    turtle lizard snake frog toad ferret hedgehog squirrel poodle beagle terrier spaniel collie greyhound kitten
    puppy goldfish peacock budgie cockatoo tortoise gecko finch"""
)
INSTRUMENTS = _words(
    """piano violin cello flute guitar harp drum trumpet trombone tuba horn oboe clarinet bassoon banjo mandolin lute
    viola organ accordion harmonica saxophone ukulele bagpipes fiddle recorder xylophone cymbals tambourine
    zither sitar harpsichord piccolo bugle cornet fife lyre bongo gong triangle"""
)
CARGO = _words(
    """coal salt sugar tea coffee cocoa rice wheat barley timber cotton wool silk linen spices pepper tobacco rum wine
    whisky oil iron copper tin lead marble bricks tiles glass paper books furniture bananas oranges lemons dates
    figs olives fish hides leather rubber cork rope candles soap clocks bicycles pianos tractors cement sand
    gravel"""
)
AILMENTS = _words(
    """headaches fever coughing colds toothache earache backache rashes burns sprains blisters bruises cramps migraine
    flu asthma anaemia insomnia dizziness nausea hiccups hives eczema bronchitis pneumonia measles mumps gout
    arthritis sunburn heartburn tonsillitis fatigue swelling infections allergies cataracts fainting bunions
    sneezing itching"""
)
REMEDIES = _words(
    """aspirin rest drops syrup ointment tablets cream massage exercise vitamins iron antibiotics injections bandages
    stitches plaster broth ice heat sleep swimming walking yoga fasting water zinc insulin ginger mint honey
    camomile oxygen glasses crutches physiotherapy surgery lozenges powder lotion salts"""
)
GENRES = _words(
    """murder pirates love war gardening cooking sailing chess ghosts dragons robots spies music painting friendship
    farming travel money football mountains winter medicine schools trains bees horses wolves kings islands
    deserts dreams memory revenge marriage magic history astronomy hunting fishing theatre circus prison mining
    orphans twins"""
)
WEATHER = _words(
    """rain snow fog sunshine hail sleet wind thunder drizzle mist frost heat clouds storms lightning showers ice dust
    haze darkness twilight moonlight floodlights smoke gales slush"""
)
CROPS = _words(
    """wheat barley oats rye corn rice beans peas lentils potatoes carrots onions cabbage lettuce spinach beets turnips
    pumpkins tomatoes peppers apples pears plums cherries grapes lemons olives hops flax cotton hemp clover
    sunflowers tulips roses lavender mint garlic celery asparagus strawberries melons mustard"""
)
LIVESTOCK = _words(
    """cows pigs sheep goats horses donkeys ponies hens ducks geese turkeys rabbits bees llamas alpacas ostriches
    buffalo deer quails pigeons oxen mules pheasants trout carp snails peacocks yaks swans reindeer camels
    guineafowl bulls lambs carthorses"""
)
DOG_NAMES = _words(
    """Rex Spot Buddy Biscuit Patch Rusty Shadow Scout Bingo Pepper Ginger Lucky Rover Duke Prince Bandit Bear Buster
    Cocoa Dusty Gypsy Jasper Midnight Misty Nugget Pip Poppy Ranger Sandy Smoky Snowy Socks Tango Thunder Tiger
    Toffee Whisky Ziggy Zorro Muffin"""
)
RIVERS = _words(
    """Alder Arrow Avon Bann Bourne Brent Calder Cherwell Clyde Derwent Don Dove Eden Esk Fal Foss Glen Isis Kennet
    Lark Lea Loddon Lune Medway Mersey Mole Nene Nidd Orwell Ouse Rother Ribble Severn Spey Stour Swale Tamar
    Tay Tees Test Thames Trent Tweed Tyne Ure Wear Welland Wye Yare"""
)
POOLS: dict[str, tuple[str, ...]] = {
    "first_name": FIRST_NAMES,
    "surname": SURNAMES,
    "place": PLACES,
    "country": COUNTRIES,
    "profession": PROFESSIONS,
    "colour": COLOURS,
    "material": MATERIALS,
    "month": MONTHS,
    "weekday": WEEKDAYS,
    "year": YEARS,
    "count": COUNTS,
    "price": PRICES,
    "time": TIMES,
    "food": FOODS,
    "animal": ANIMALS,
    "pet": PETS,
    "instrument": INSTRUMENTS,
    "cargo": CARGO,
    "ailment": AILMENTS,
    "remedy": REMEDIES,
    "topic": GENRES,
    "weather": WEATHER,
    "crop": CROPS,
    "livestock": LIVESTOCK,
    "dog_name": DOG_NAMES,
    "river": RIVERS,
}

BRANDS = _words(
    """Alto Argon Aster Bellor Bexton Brio Calyx Camber Carvo Celto Corda Corvo Dalby Delmo Dexa Dorado Elvar Enzo
    Fabro Falco Fenwick Ferro Galant Garda Halden Helio Hexon Icaro Ixel Jarvis Juno Kandor Kelso Kestrel Lando
    Larkin Lumo Lyra Magna Maxon Merlo Mirado Nexo Nordal Norvik Nova Oberon Orbit Orlo Palmo Parvo Pinto Polar
    Quanta Quill Raldo Remco Rondo Sabre Salvo Sirio Solano Tarn Tello Tempo Tiber Toledo Ultra Umbra Valdo
    Varna Vesta Vidar Volta Waldo Wexel Xenon Yoko Zanto Zephyr Zorba"""
)
PRODUCT_TYPES = _words(
    """lamp kettle radio clock chair table desk shelf mirror bag wallet umbrella suitcase bicycle scooter tent backpack
    camera printer heater fan toaster blender mixer oven stove teapot vase bowl tray pen notebook stapler knife
    helmet jacket scarf watch ladder hammer drill stool sofa"""
)
SHIP_ADJECTIVES = _words(
    """Silver Golden Northern Southern Eastern Western Royal Brave Silent Swift Lonely Gentle Bright Distant Faithful
    Happy Iron Noble Proud Quiet Restless Shining Stormy Wild Wandering White Black Crimson Scarlet Emerald
    Amber Ancient Bold Crystal Daring Early Fair Flying Free Grand Hidden Humble Jolly Little Lucky Merry
    Midnight Morning Patient Polar Rising Roaming Sacred Sunny Tender Trusty Velvet Wise Winter Young"""
)
SHIP_NOUNS = _words(
    """Heron Star Gull Dolphin Whale Falcon Eagle Swan Wave Tide Anchor Compass Lantern Voyager Pilgrim Wanderer Trader
    Hunter Dawn Horizon Breeze Gale Tempest Spirit Queen Duchess Princess Maiden Mermaid Siren Otter Seal
    Pelican Albatross Swallow Sparrow Raven Osprey Kestrel Petrel Turtle Marlin Sturgeon Herald Messenger
    Venture Promise Hope Liberty Fortune Glory Harmony Legend Arrow Sabre Crown Sceptre Jewel Comet Meteor
    Aurora Explorer Guardian Ranger Champion Monarch Baron Admiral"""
)
CITY_STARTS = _words(
    """Alder Ash Barrow Beech Birch Black Bram Brindle Brook Cald Carn Chester Clay Cold Copper Crow Dar Dun East Elm
    Fair Fern Flint Fox Glen Gold Grange Green Hallow Harrow Hart Haver High Holly Iron King Lang Lark Linden
    Long Maple Marl Mill Moss Nether North Oaken Old Otter Pem Quarry Raven Red Rook Rose Salt Sand Silver South
    Stan Swan Thorn Wester White Wil Winter Wolf"""
)
CITY_ENDS = _words(
    """bourne bridge brook burgh bury by cester combe dale den field ford gate ham haven hill hurst ley mere minster
    mont mouth pool port shaw stead stoke ton vale ville wick wood worth"""
)
BOOK_ADJECTIVES = _words(
    """Glass Paper Broken Burning Clever Crooked Dancing Empty Endless Fallen Final First Forgotten Frozen Giant Hollow
    Hungry Invisible Last Laughing Lost Narrow New Old Open Painted Perfect Second Secret Seventh Singing
    Sleeping Small Stolen Strange Sunken Third Tired Unknown Wooden Wounded Yellow Borrowed Careful Electric
    Foolish Gilded Honest Impossible"""
)
BOOK_NOUNS = _words(
    """Orchard Garden House Bridge Tower River Road Door Window Key Letter Map Clock Mirror Shadow Candle Island Forest
    Mountain Valley Village Palace Castle Library School Station Harbour Market Kitchen Attic Cellar Staircase
    Painter Sailor Tailor Stranger Neighbour Teacher Thief Witness Daughter Brother Orphan Summer Autumn Night
    Hour Journey Promise Puzzle Song Feast Wedding Crown Feather Violin Machine"""
)
TEAM_NAMES = _words(
    """Foxes Wolves Bears Lions Tigers Eagles Hawks Falcons Ravens Owls Bulls Stags Badgers Otters Sharks Dolphins
    Panthers Cobras Vipers Hornets Wasps Bees Rams Colts Mustangs Broncos Rovers Rangers Wanderers Knights
    Giants Pirates Raiders Miners Bakers Sailors Royals Comets Rockets Saints"""
)
FARM_STARTS = _words(
    """Willow Oak Ash Elm Birch Cedar Maple Hazel Holly Juniper Laurel Rowan Thistle Bramble Clover Heather Ivy Fern
    Poppy Primrose Sparrow Robin Swallow Lark Wren Pheasant Badger Fox Hare Otter Hedgehog Rabbit Stone Pebble
    Copper Sunny Windy Shady Foggy Quiet Upper Lower Long Broad Deep Twin Seven Summer Winter Harvest"""
)
FARM_MIDDLES = _words(
    """Brook Hill Valley Meadow Ridge Hollow Creek Lane Bank Bottom Corner Cross Down Edge End Field Gate Glade Green
    Grove Heath Marsh Moor Nook Pond Pool Rise Slope Spring Wood"""
)
MUSEUM_STARTS = _words(
    """Alba Amara Arden Argos Attica Balkan Benin Borgia Byblos Carthage Celtic Corinth Cretan Dacian Delphi Doric
    Etruscan Fenland Gallic Gothic Hadrian Hittite Iberian Ionian Kushite Lydian Mayan Medici Minoan Moorish
    Nabatean Nordic Norman Nubian Olmec Orsini Persian Pictish Pontic Roman Sabine Samian Saxon Scythian Sforza
    Sidon Spartan Thracian Toltec Trojan Tudor Tyrian Umbrian Ural Vandal Viking Visconti Zapotec"""
)
MUSEUM_OBJECTS = _words(
    """Mask Bowl Cup Urn Vase Ring Crown Helmet Shield Sword Dagger Spear Statue Idol Coin Seal Tablet Scroll Mirror
    Comb Brooch Necklace Bracelet Lamp Casket Chalice Plate Jug Bell Drum Throne Figurine Amulet Buckle Sundial"""
)
TRAIN_KINDS = _words(
    """Express Mail Flyer Limited Sleeper Shuttle Clipper Special Courier Local Rambler Runner Rocket Racer Link"""
)
TRAIN_STARTS = _words(
    """Alpine Arctic Atlantic Baltic Border Canyon Capital Cascade Central Coastal Colonial Crescent Danube Desert
    Diamond Evening Frontier Glacier Highland Imperial Ivory Jubilee Lakeside Lowland Lunar Magenta Meridian
    Metropolitan Moonlight Mountain Olympic Orient Pacific Pennine Pioneer Prairie Riviera Sapphire Sierra Solar
    Sunset Thunder Tropic Twilight Union Valley Victoria Volcano"""
)
