"""English captions in canonical form: general English for the vocabularies of small tokenizers."""

from __future__ import annotations

CAPTIONS = """
a photo of a cat sleeping on a red sofa
two small kittens play with a ball of wool on the floor
a brown dog runs along the beach with a stick
a black and white horse stands in a green field
an elephant and her calf cross the river at sunset
a flock of birds flies over the lake in autumn
a yellow butterfly rests on a purple flower
a fish swims between corals in clear blue water
a fox looks out of the forest in the snow
sheep graze on a hill under a cloudy sky
a bee collects pollen from a sunflower in the garden
a close view of an owl with orange eyes at night
a woman in a white dress walks down the street
a man with a hat reads a newspaper on a park bench
children build a castle of sand by the sea
a group of friends eat dinner at a long wooden table
an astronaut in a space suit smiles in front of the flag
a musician plays the guitar on a stage with bright lights
a chef cuts vegetables in the kitchen of a restaurant
a girl rides a bicycle through an old town
a boy kicks a football in the rain
two people climb a steep mountain with ropes
a crowd watches fireworks above the harbour
a portrait of an old fisherman with a grey beard
a doctor in a white coat looks at a screen
a teacher writes numbers on the blackboard
a rocket lifts off from the launch pad with fire and smoke
the moon and stars above a quiet desert
a picture of a galaxy taken by a space telescope
the surface of the moon with many craters
a sunrise over the ocean with golden clouds
a waterfall in a tropical jungle with ferns
a road through the mountains in winter
a wooden bridge over a small stream in the woods
snow covers the roofs of a village in the valley
a field of wheat moves in the wind before a storm
tall palm trees on an island with white sand
a lighthouse on a rocky coast in heavy waves
red autumn leaves lie on the grass of the park
a rainbow stands over the farm after the rain
the skyline of a modern city at night
an ancient temple with stone columns and broad stairs
a palace with a golden roof in china
a narrow street with colourful houses and balconies
a tall church tower with a clock and bells
an empty train station with iron arches and glass
a busy market with fruit fish bread and spices
a library full of books with a spiral staircase
an office with desks chairs computers and plants
a modern kitchen with a steel oven and a marble counter
a bedroom with a large window and a soft carpet
a cup of hot coffee with milk foam on a table
a bowl of fresh strawberries apples and oranges
a slice of chocolate cake with cream and cherries
a pizza with tomatoes cheese olives and basil
a plate of pasta with mushrooms and green pepper
a glass of cold lemonade with ice and mint
a loaf of brown bread with butter and honey
sushi with salmon rice and avocado on a black plate
a pot of tomato soup with onions and garlic
a bottle of red wine with two glasses and grapes
a red leather handbag with a golden chain
a pair of white running shoes with blue soles
brown leather boots for women size thirty nine
a warm winter jacket with a hood and four pockets
a blue cotton shirt with long sleeves for men
a striped woollen scarf and matching gloves
a light summer dress with a flower pattern
black denim jeans with a narrow cut
a silver ring with a small green stone
a wrist watch with a brown strap and a round face
sunglasses with dark lenses and a plastic frame
a backpack for school with a laptop compartment
a travel suitcase with four wheels and a lock
a wireless mouse and a mechanical keyboard
noise cancelling headphones with soft ear pads
a laptop with a fourteen inch screen and a long battery life
a digital camera with a zoom lens and a tripod
a smart phone with a cracked glass screen
a small loudspeaker that is waterproof
a desk lamp with a flexible arm and warm light
a comfortable office chair with a high back
a round coffee table made of oak wood
a grey corner sofa with many cushions
a bunk bed for children with a ladder
a set of kitchen knives in a wooden block
a stainless steel water bottle that keeps drinks cold
an electric kettle and a toaster in matching red
a robot vacuum cleaner on a wooden floor
a cordless drill with two batteries and a case
a garden hose a shovel and a rake against the wall
a mountain bike with disc brakes and thick tyres
a tent for three persons beside a camp fire
a surfboard leaning against an old yellow van
a tennis racket and three green balls
a wooden chess board with black and white pieces
a puzzle with one thousand parts that shows a map
a teddy bear with a red ribbon
an electric car charges in front of a house
a red sports car on a wet race track
a yellow school bus waits at a traffic light
an old steam train crosses a bridge in the hills
a sailing boat and a ferry meet in the bay
an airplane lands on a runway in the fog
motorcycles stand in a row in front of a garage
a stack of silver and copper coins from rome
a page of handwriting in dark ink on old paper
a printed page of text with a figure and a table
a brick wall with graffiti in bright colours
gravel grass and sand seen from above
an image of the retina of a human eye
a microscope picture of cells in pink and blue
the front page of a newspaper with a headline
a map of europe with rivers borders and capitals
a diagram that shows how the machine works
a bar chart of sales by month and by country
an oil painting of a storm at sea in a golden frame
a pencil drawing of hands holding a violin
a marble statue of a woman without arms
a black and white photograph of a street after the war
a blurred picture of something that moves very quickly
this is not what was searched for it is something else
which of these products are in stock and can be delivered today
the best one for a birthday a wedding or as a gift for him or her
cheap small large heavy light new used broken and repaired
zero one two three four five six seven eight nine ten hundred thousand
jazz quartet exotic yacht quiz box vivid zigzag extra fuzzy jackal
"""
