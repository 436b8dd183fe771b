"""Words that the names of the entities of these domains are put together from."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ADJECTIVES = _words(
    """Bashful Blazing Blissful Breezy Bristling Brisk Bronzed Chiming Content Cosy Courtly Crackling Dappled
    Drifting Drowsy Dusky Elegant Enchanted Evergreen Fabled Fearless Fiery Floating Fragrant Frosty Gallant
    Glittering Glowing Graceful Hasty Hearty Idle Jaunty Jovial Keen Kindly Leafy Leaping Limping Lofty Lush
    Majestic Mellow Mighty Mossy Nimble Nodding Placid Plucky Prancing Pretty Purring Rambling Roaring Rosy
    Rugged Rustic Serene Shimmering Sleepy Slender Smiling Smoking Snowbound Solemn Sparkling Spirited Splendid
    Stately Steadfast Sturdy Tranquil Trembling Triumphant Valiant Vivid Watchful Whispering Whistling Windswept
    Winking Witty Yawning Zealous"""
)
LANDSCAPE = _words(
    """Bank Bay Beach Canyon Cape Cascade Cliff Cove Crag Delta Dune Fen Fjord Gap Gorge Grotto Gulf Headland
    Highland Hillside Inlet Isle Knoll Lagoon Lake Ledge Loch Mesa Oasis Park Pass Peak Plain Plateau Prairie
    Ravine Reef Sand Shore Sound Spring Strait Summit Terrace Vale Wild Woodland"""
)
DISHES = _words(
    """Bread Brittle Cake Casserole Charlotte Cobbler Crumble Custard Flan Gateau Gingerbread Loaf Meringue Muffins
    Pastries Pie Pudding Quiche Roll Shortbread Souffle Sponge Strudel Tart Torte Turnovers Waffles"""
)
DISH_STYLES = _words(
    """Autumn Birthday Christmas Country Easter Everyday Festive Garden Harvest Holiday Midsummer Picnic Rainy
    Spring Sunday Supper Wedding Weekday Winter"""
)
CHEESES = _words(
    """Blue Brick Button Cream Crumbler Curd Drum Log Pyramid Reserve Ring Slab Smoked Soft Square Truckle Wedge
    Wheel White Yellow"""
)
SONG_VERBS = _words(
    "Beyond Catch Counting Farewell Follow Forget Greet Guarding Hear Kissing Leave Meet Remember Under Wake"
)
SONG_ADJECTIVES = _words(
    """Barefoot Bittersweet Blooming Blushing Careless Childish Crying Dearest Fading Feverish Giddy Homeless
    Homesick Lazy Lovesick Lovely Moonless Naked Nameless Rainy Reckless Sighing Sinful Starlit Sweetest Tearful
    Thirsty Timeless Undying Wasted Weary"""
)
SONG_NOUNS = _words(
    """Angel Bandit Beggar Bride Cowboy Darling Dreamer Drummer Fiddler Fool Gambler Ghost Girl Gypsy Heart Hobo
    Lover Moon Mother Rain Rainbow Sailor Seasons Shepherd Soldier Stars Sunrise Sunshine Sweetheart Teardrop
    Tomorrow Traveller Waltz Wind"""
)
ENSEMBLES = (
    "Philharmonic",
    "Symphony",
    "Chamber Ensemble",
    "Brass Band",
    "Sinfonia",
    "String Orchestra",
    "Camerata",
    "Radio Orchestra",
    "Youth Orchestra",
    "Festival Orchestra",
)
ROLES = _words(
    """Actress Admiral Apothecary Aunt Bachelor Barber Bigamist Blackmailer Bridegroom Brigadier Bugler Butler
    Cardinal Chambermaid Countess Cousin Cuckoo Dentist Detective Doctor Duchess Flautist Gentleman Ghost
    Governess Grandmother Heiress Inspector Jester Juggler Landlady Lawyer Magician Milkmaid Millionaire Nephew
    Nobody Parrot Professor Sergeant Spinster Stranger Swindler Tailor Uncle Ventriloquist Vicar Waitress Widow"""
)
ROOMS = _words(
    """Alcove Asylum Attic Aviary Backyard Ballroom Barn Bathtub Bedroom Belfry Bookcase Cellar Cloakroom Closet
    Conservatory Convent Corridor Courtroom Cupboard Drawer Elevator Embassy Fireplace Foyer Garage Gazebo
    Greenhouse Hammock Henhouse Icehouse Laundry Lift Lobby Nursery Pantry Parlour Rosebed Sacristy Sandpit
    Sauna Scullery Sidecar Skylight Study Stairwell Tent Treehouse Wardrobe Workshop"""
)
PEAK_SYLLABLES = (
    _words("Ab Ar Bor Cal Dor Es Gor Hel Iz Kan Lor Mak Nor Ost Pir Rud Sar Tar Und Var Wil Yor Zer"),
    _words("a e i o u ba da go li na ri so ta ve"),
    _words("bak dun gan hal kal lak mon nur pin rak sen tol van zik"),
)
HORSES = _words(
    """Arrow Baron Bolt Brandy Bullet Cadet Cavalier Champion Charger Clover Colonel Comet Corsair Count Dancer
    Dash Duke Echo Emperor Ember Flame Flash Galaxy General Gladiator Hero Hurricane Jester Knight Lad Lady
    Lightning Major Marquis Monsoon Musketeer Paladin Phantom Prophet Rascal Rocket Rogue Saint Samurai Sheriff
    Sky Storm Sultan Thunder Tornado Vagabond Victory Viscount Whirlwind Wizard"""
)
GARDENS = (
    "Park",
    "Botanical Garden",
    "Rose Garden",
    "Arboretum",
    "Pleasure Ground",
    "Physic Garden",
    "Walled Garden",
    "Water Garden",
    "Palace Garden",
    "Kitchen Garden",
    "Herb Garden",
)
CAPITALS = tuple("ABCDEFGHJKLMNPQRSTVWXYZ")
LOANS = _words(
    """Boat Building Business Car Cattle Crop Emergency Equipment Family Harvest House Holiday Roof School Seed
    Shop Student Tractor Travel Wedding"""
)
GADGET_STYLES = _words(
    """Automatic Cordless Double Electric Flexible Floating Folding Heated Hydraulic Inflatable Magnetic Mechanical
    Miniature Musical Pneumatic Pocket Portable Reversible Rotary Silent Solar Spring Telescopic Universal
    Vibrating Waterproof Wireless"""
)
BRIDGES = (
    "Bridge",
    "Footbridge",
    "Viaduct",
    "Suspension Bridge",
    "Old Bridge",
    "New Bridge",
    "Toll Bridge",
    "Crossing",
    "Swing Bridge",
    "High Bridge",
    "Stone Bridge",
)
ISLAND_SYLLABLES = (
    _words("Ba Bri Ca Da Er Fa Ga Hu In Ka Lo Ma Na O Pa Ru Sa Ta U Va Wa"),
    _words("be chi du fa go ka la mi no pu ra si to vu"),
    _words("da ga ka la ma na nga ra rin ros sey tan tu via wa"),
)
HEADLANDS = _words(
    """Bluff Boulder Breakers Cape Claw Corner Elbow Finger Foreland Harbour Hook Horn Ledge Needle Nose Point
    Promontory Reef Rock Sandbank Shoal Skerry Spit Spur Stack Tongue Tooth Whaleback"""
)
MACHINES = _words(
    """Excavator Crane Bulldozer Digger Forklift Roller Loader Grader Mixer Compressor Generator Pump Dumper
    Trencher Paver Hoist Drill Winch Sweeper Shredder"""
)
PROGRAM_ENDS = _words(
    """Base Board Book Box Calc Cast Chart Cloud Code Desk Draw Edit Flow Forge Grid Kit Lab Link Mail Mind Note
    Pad Paint Plan Post Scan Sheet Sync Talk Task Text Vault View Works Write"""
)
BALLOTS = (
    "Ballot",
    "By-election",
    "Council Election",
    "Harbour Vote",
    "Mayoral Election",
    "Parish Election",
    "Primary Vote",
    "Recall Vote",
    "Referendum",
    "Run-off",
    "School Board Election",
    "Senate Election",
    "Water Vote",
)
SCHOOLS = (
    "Academy",
    "Boarding School",
    "Business School",
    "College",
    "Elementary",
    "Evening School",
    "Girls School",
    "Grammar School",
    "High School",
    "Infant School",
    "Middle School",
    "Music School",
    "Primary School",
    "Technical College",
    "Village School",
)
GREEK = _words("""Alpha Beta Gamma Delta Epsilon Zeta Eta Theta Iota Kappa Lambda Sigma Tau Omega""")
RIVER_STARTS = _words(
    """Black Blue Clear Cold Deep Dry Eastern Green Grey Little Lower Muddy New Northern Old Red Rocky Salt Shallow
    Silent Southern Upper Warm Western White Wild Yellow"""
)
SCIENCES = _words(
    """Acoustics Biology Chemistry Crystal Dairy Energy Fibre Fusion Geology Glass Heat Ice Laser Marine Metal
    Mineral Noise Optics Particle Physics Plasma Plant Polymer Pressure Radar Rock Salt Seismic Soil Steel
    Surface Vacuum Water Wave Wind"""
)
NUMBERS = _words("""Two Three Four Five Six Seven Eight Nine Ten Eleven Twelve Thirteen Twenty Forty Fifty Ninety""")
FILM_PLURALS = _words(
    """Alibis Bottles Bullets Candles Coffins Crosses Diamonds Doors Excuses Feathers Flags Guitars Hats Hours Keys
    Kisses Lanterns Letters Lies Masks Miles Mirrors Mornings Nights Oranges Pennies Pillows Promises Questions
    Roads Roses Rings Seconds Secrets Shoes Sisters Stitches Suitcases Summers Tears Tickets Trumpets Weddings
    Windows Winters Wishes"""
)
TOURNAMENTS = (
    "Autumn Open",
    "Blitz",
    "Chess Cup",
    "Chess Festival",
    "Chess Week",
    "Easter Open",
    "Grand Prix",
    "Invitational",
    "Jubilee Open",
    "Junior Cup",
    "Masters",
    "Memorial",
    "Rapid",
    "Seniors Cup",
    "Spring Open",
    "Summer Open",
    "Winter Cup",
)
NOTES = tuple(
    f"{number} {coin}"
    for number in NUMBERS
    for coin in ("Crown Note", "Dinar Note", "Franc Note", "Lira Note", "Mark Note", "Peso Note", "Pound Note")
)
