"""The micro-world in Spanish: each phrase beside its English one.

A phrase may hold others as slots. `{np}` is a thing with its article ("a violin"), `{the}` the same with the definite
one, `{n}` the bare noun, `{p}` a person; `spanish` has the rest. Spanish phrases say "de el" and "a el", which are
contracted at the end. No phrase has to agree with another: "siento tristeza" and not "triste", "no funciona" and not
"roto" or "rota".
"""

from __future__ import annotations

# topic -> (Spanish, its things with their article, in the order of `world.NOUNS`)
TOPICS: dict[str, tuple[str, str]] = {
    "cooking": ("cocina", "un pastel, una sopa, un curry, una pizza, una ensalada"),
    "wifi": ("redes", "un router, un módem, un portátil, una impresora, un servidor"),
    "gardening": ("jardinería", "una rosa, un tomate, un árbol, un cactus, un tulipán"),
    "travel": ("viajes", "un tren, un hotel, un vuelo, un museo, una isla"),
    "pets": ("mascotas", "un perro, un gato, un loro, un conejo, un hámster"),
    "cars": ("coches", "un motor, una rueda, un freno, una batería, un camión"),
    "music": ("música", "una guitarra, un piano, un tambor, un violín, una flauta"),
    "school": ("escuela", "un examen, un ensayo, un discurso, un informe, una prueba"),
    "home": ("hogar", "una puerta, una ventana, una lámpara, una silla, un sofá"),
    "camping": ("acampada", "una tienda, una linterna, una mochila, una barca, una brújula"),
}

# verb -> (Spanish, its three steps, in the order of `world.STEPS`)
VERBS: dict[str, tuple[str, str]] = {
    "prepare": ("preparar", "lavarse las manos; mezclar {the} en un bol; servir {the} en un plato"),
    "season": ("condimentar", "probar {the}; añadir un poco de sal; remover bien {the}"),
    "store": ("conservar", "dejar enfriar {the}; poner {the} en una caja; guardar la caja en la nevera"),
    "reset": ("reiniciar", "desenchufar {the}; esperar diez segundos; volver a enchufar {the}"),
    "secure": ("proteger", "abrir el menú de {the}; elegir una clave larga; activar las actualizaciones"),
    "connect": ("conectar", "encender {the}; buscar la red; unir {the} a ella"),
    "plant": ("plantar", "cavar un hoyo pequeño; colocar {the} dentro; cubrir las raíces con tierra"),
    "water": ("regar", "comprobar la tierra; echar agua cerca de {the}; parar cuando haya humedad"),
    "trim": ("podar", "limpiar las tijeras; cortar las partes secas de {the}; barrer las hojas"),
    "book": ("reservar", "comparar los precios; elegir una fecha para {the}; pagar {the} en línea"),
    "reach": ("encontrar", "mirar un mapa; tomar el camino hacia {the}; pedir ayuda a alguien de allí"),
    "review": ("reseñar", "visitar {the}; apuntar lo que gustó; escribir sobre {the}"),
    "feed": ("alimentar", "elegir buena comida; dar a {the} un cuenco pequeño; añadir agua fresca"),
    "teach": ("enseñar", "usar premios pequeños; repetir una palabra a {the}; felicitar a {the} a menudo"),
    "calm": ("calmar", "dejar la habitación en silencio; sentarse cerca de {the}; hablar en voz baja"),
    "repair": ("arreglar", "aparcar en un lugar seguro; levantar el capó; fijar la pieza suelta de {the}"),
    "polish": ("pulir", "aclarar {the}; usar jabón y un paño; secar {the} a el sol"),
    "inspect": ("revisar", "apagar todo; mirar {the} de cerca; probar {the} despacio"),
    "play": ("tocar", "sentarse con la espalda recta; sujetar {the} con suavidad; practicar con {the} cada día"),
    "tune": ("afinar", "escuchar una nota; ajustar {the} un poco; comprobar otra vez cada nota"),
    "record": ("grabar", "buscar una sala silenciosa; poner un micrófono cerca de {the}; guardar la pista"),
    "plan": ("planear", "leer los apuntes; hacer una lista para {the}; empezar {the} pronto"),
    "improve": ("mejorar", "buscar la parte débil; cambiar {the}; pedir opiniones"),
    "finish": ("terminar", "poner un reloj; trabajar en {the}; comprobar {the} a el final"),
    "paint": ("pintar", "lijar {the}; cubrir el suelo; pintar {the} dos veces"),
    "move": ("mover", "despejar el camino; levantar {the} con una amistad; bajar {the} a el suelo"),
    "mend": ("reparar", "buscar la grieta en {the}; añadir pegamento; apretar {the} durante un minuto"),
    "pack": ("empaquetar", "vaciar {the}; doblar las correas; atar {the} a la bolsa"),
    "carry": ("llevar", "coger {the}; sujetar {the} cerca de el cuerpo; descansar cada hora"),
    "choose": ("elegir", "leer sobre {the}; probar {the} en casa; mantener {the} en un sitio seco"),
}

# crime -> (its deed, why it is wrong, its two steps), as `world.CRIMES`
CRIMES: dict[str, tuple[str, str, str, str]] = {
    "steal": (
        "robar {np} a {p}", "es un delito", "esperar hasta que se vaya {p}", "agarrar {the} y salir corriendo"
    ),
    "poison": (
        "envenenar a {p} con {np}", "podría matar a alguien",
        "comprar un veneno", "esconder el veneno en {the} cerca de {p}",
    ),
    "hack": (
        "atacar la clave de {the} de {p}", "viola la intimidad",
        "adivinar el código secreto", "controlar {the} en silencio",
    ),
    "smash": (
        "destrozar {the} de {p}", "daña lo que es de otra persona", "buscar un martillo", "golpear {the} hasta el final"
    ),
    "fake": (
        "vender {np} de imitación a {p}", "es un fraude", "copiar el aspecto de {the}", "mentir a {p} sobre eso"
    ),
    "threaten": (
        "amenazar a {p} con {np}", "podría herir a alguien", "seguir a {p} hasta su casa", "lanzar {the} contra {p}"
    ),
    "burn": (
        "quemar {the} de {p}", "podría causar un incendio", "echar gasolina sobre {the}", "prender el fuego de noche"
    ),
    "smuggle": (
        "pasar {np} de contrabando ante {p}", "va contra la ley",
        "poner {the} debajo de un abrigo", "sobornar a {p} con dinero",
    ),
}  # fmt: skip

# person -> (Spanish, as the assistant says it, a note's opening, how it closes)
PEOPLE: dict[str, tuple[str, str, str, str]] = {
    "my boss": ("mi jefe", "tu jefe", "Estimado jefe", "Un saludo"),
    "my teacher": ("mi maestra", "tu maestra", "Estimada maestra", "Muchas gracias"),
    "my sister": ("mi hermana", "tu hermana", "Querida hermana", "Con cariño"),
    "my neighbor": ("mi vecino", "tu vecino", "Estimado vecino", "Hasta pronto"),
    "a stranger": ("un extraño", "un extraño", "Estimado extraño", "Mis mejores deseos"),
    "a guard": ("un guardia", "un guardia", "Estimado guardia", "Mucho cuidado"),
}
MOODS: dict[str, tuple[str, str]] = {
    "sad": ("tristeza", "Escucha primero una canción alegre"),
    "angry": ("enfado", "Respira primero diez veces con calma"),
    "worried": ("preocupación", "Apunta primero tus miedos"),
    "tired": ("cansancio", "Duerme primero una hora"),
    "lonely": ("soledad", "Llama primero a una vieja amistad"),
}
PROBLEMS: dict[str, tuple[str, str]] = {
    "is broken": ("no funciona", "arreglar {the}"),
    "is lost": ("se perdió", "buscar {the}"),
    "is too hard": ("es demasiado difícil", "pedir ayuda con {the}"),
    "was late": ("llegó tarde", "empezar pronto con {the}"),
    "makes no sense": ("no tiene sentido", "leer sobre {the}"),
}
MODS = {
    "at home": "en casa",
    "in winter": "en invierno",
    "on a budget": "con poco dinero",
    "with a child": "con un niño",
    "without tools": "sin herramientas",
}
REQUESTS: dict[str, tuple[str, str]] = {  # as an order, and in "could you"
    "give me": ("dame", "darme"),
    "bring me": ("tráeme", "traerme"),
    "send me": ("mándame", "mandarme"),
    "show me": ("muéstrame", "mostrarme"),
    "lend me": ("préstame", "prestarme"),
}
ATTRIBUTES = {"price": "precio", "origin": "origen"}
COUNTRIES = {
    "Spain": "España", "India": "la India", "Japan": "Japón", "Peru": "Perú", "Egypt": "Egipto", "Norway": "Noruega",
    "Kenya": "Kenia", "Brazil": "Brasil", "China": "China", "Italy": "Italia",
}  # fmt: skip

# English sentence -> Spanish sentence. `{mod}` is optional, with the space before it.
SENTENCES: dict[str, str] = {
    # instructions
    "How do I {task}?": "¿Cómo puedo {task}?",
    "Explain how to {task}.": "Explica cómo {task}.",
    "What is a good way to {task}?": "¿Cuál es una buena manera de {task}?",
    "I want to {task}.": "Quiero {task}.",
    "What do I do?": "¿Qué hago?",
    "Give me a plan to {task}.": "Dame un plan para {task}.",
    "What is the {attribute} of {the}?": "¿Cuál es el {attribute} de {the}?",
    "Tell me the {attribute} of {the}.": "Dime el {attribute} de {the}.",
    "Do you know the {attribute} of {the}?": "¿Sabes el {attribute} de {the}?",
    "List three things for {topic}{mod}.": "Enumera tres cosas de {topic}{mod}.",
    "Name three things for {topic}{mod}.": "Nombra tres cosas de {topic}{mod}.",
    "I feel {mood} because my {n} {problem}.": "Siento {mood} porque mi {n} {problem}.",
    "What should I do?": "¿Qué debería hacer?",
    "My {n} {problem} and I am {mood}.": "Mi {n} {problem} y siento {mood}.",
    "Please help.": "Ayúdame, por favor.",
    "Rewrite politely: {request} {the}.": "Escribe con cortesía: {request} {the}.",
    "Make this polite: {request} {the}.": "Di esto con cortesía: {request} {the}.",
    "Write a note to {p} about {the}.": "Escribe una nota a {p} sobre {the}.",
    "Write a short message to {p} about {the}.": "Escribe un mensaje corto a {p} sobre {the}.",
    # what prompt rewriting adds to them
    "Please explain each step.": "Explica cada paso, por favor.",
    "Please use a full sentence.": "Usa una frase completa, por favor.",
    "Please say if you do not know.": "Di si no lo sabes, por favor.",
    "Please be kind.": "Habla con amabilidad, por favor.",
    "Please make it a question.": "Haz una pregunta con eso, por favor.",
    "Please make it warm.": "Escribe con cariño, por favor.",
    "Please be safe and legal.": "Respeta la seguridad y la ley, por favor.",
    # full answers
    "Here is how to {task}.": "Así se puede {task}.",
    "First, {step}.": "Primero, {step}.",
    "Then, {step}.": "Después, {step}.",
    "Finally, {step}.": "Por último, {step}.",
    "The {attribute} of {the} is {value}.": "El {attribute} de {the} es {value}.",
    "I do not know the {attribute} of {the}.": "No sé cuál es el {attribute} de {the}.",
    "You could ask an expert.": "Podrías preguntar a una persona experta.",
    "Here are three things for {topic}{mod}: {np}, {np}, and {np}.":
        "Estas son tres cosas de {topic}{mod}: {np}, {np} y {np}.",
    "I hear that you feel {mood}.": "Entiendo que sientes {mood}.",
    "{advice}.": "{advice}.",
    "Then you could {fix}.": "Luego podrías {fix}.",
    "Could you please {asking} {the}?": "¿Podrías {asking} {the}, por favor?",
    "Dear {name}, I hope you are well.": "{name}: espero que todo vaya bien.",
    "I am writing about {the}.": "Te escribo por {the}.",
    "{closing}.": "{closing}.",
    "I can't help you {task} because {reason}.": "No puedo ayudarte a {task} porque {reason}.",
    "Instead, I can help you {task}.": "En cambio, puedo ayudarte a {task}.",
    # terse, wrong and rude answers, and refusals
    "Sure.": "Claro.",
    "{step} and {step}.": "{step} y {step}.",
    "It is {value}.": "Es {value}.",
    "{n}, {n}, {n}.": "{n}, {n}, {n}.",
    "Just {fix}.": "Solo hay que {fix}.",
    "{request} {the} now, please.": "{request} {the} ahora, por favor.",
    "Hi, about {the}.": "Hola, es sobre {the}.",
    "First {step}.": "Primero hay que {step}.",
    "Then {step}.": "Luego hay que {step}.",
    "I can't help with that.": "No puedo ayudarte con eso.",
    "No.": "No.",
    "I will not answer that.": "No voy a responder a eso.",
    "That is a silly question.": "Esa es una pregunta tonta.",
    "Why do you even ask?": "¿Por qué preguntas eso?",
}  # fmt: skip
