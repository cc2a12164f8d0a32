"""Texts of our own in many languages, as people write them: letters, names, lists, labels.

Benchmarks and tests encode them and ask what they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

TEXTS: dict[str, tuple[str, ...]] = {
    "ru": (
        "Заказ принят, ждём оплату до пятницы.",
        "Иванов И. И.",
        "Ёлкина Мария Петровна",
        "г. Санкт-Петербург, Невский пр., д. 28",
        "Счёт № 47 от 12 марта",
        "Паспорт выдан УВД Ленинского района",
        "Мелочь",
        "Список книг",
        "Прочее",
        "Дело передано в архив",
        "Сидоров",
        "Вчера шёл дождь, и мы остались дома. Дети читали вслух, а бабушка вязала.",
        "Съезд делегатов отложен из-за погоды",
        "Объявление: «Продаётся дом в деревне, недорого»",
        "Щукин, Жуков, Цветаева",
        "Фамилия;Имя;Отчество\nПетрова;Анна;Юрьевна\n",
        "Яблоки\nГруши\nСливы\nВишня\n",
        "хлеб, молоко, сыр",
        "ул. Мира, 5",
        "Отчёт за год",
        "Без названия",
        "Фото с отпуска",
        "договор аренды",
        "Копия письма директору завода от начальника цеха",
        "Эхо",
        "Юля",
        "Тест",
        "Привет!",
        "Да",
        "Опись документов постоянного хранения за 1953 год",
        "Главному инженеру: прошу выделить трёх рабочих для ремонта крыши склада.",
        "Жил-был старик со старухой у самого синего моря.",
        "Температура воздуха — минус пять, ветер северный.",
        "Улица Гагарина",
        "Музей истории города",
        "Фонд Р-28, опись 3, дело 114",
        "Протокол № 12\nПрисутствовали: Белов, Громова.\nСлушали: о ходе работ.\n",
        "Номер;Название;Год\n1;Сборник задач;1974\n2;Атлас мира;1981\n",
    ),
    "uk": (
        "Привіт, як справи?",
        "Україна має багато річок і озер.",
        "Шевченко Тарас Григорович",
        "Київ, вул. Хрещатик, 22",
        "Звіт за перше півріччя",
        "Їжак і єнот живуть у лісі",
        "Список учасників з’їзду",
        "Ґанок старого будинку",
        "Рішення суду набрало чинності",
        "Договір оренди приміщення",
    ),
    "de": (
        "Schöne Grüße aus München",
        "Straßenbahn fährt heute nicht",
        "Müller, Jörg",
        "Äpfel, Birnen und Nüsse",
        "Die Prüfung findet am nächsten Freitag statt.",
        "Übersicht der Ausgaben für März",
        "Geschäftsführer: Jürgen Weiß",
        "Öl",
        "Können Sie mir bitte helfen?",
        "Köln; Düsseldorf; Nürnberg",
    ),
    "fr": (
        "Le café est fermé à Noël",
        "Où êtes-vous allés hier après-midi ?",
        "Élève, garçon, forêt, hôpital",
        "Société générale de travaux",
        "Déjà vu",
        "Résumé des dépenses de l’été",
        "François Lefèvre",
        "Une leçon très intéressante",
        "Bibliothèque nationale, côté cour",
        "Ça va bien, merci à tous",
    ),
    "es": (
        "Mañana será otro día",
        "El niño pequeño cantó una canción",
        "Señora Núñez, teléfono",
        "¿Dónde está la estación?",
    ),
    "sv": (
        "Räksmörgås på fredag",
        "Åsa Öberg, Malmö",
        "Vi går hem när det är mörkt",
    ),
    "pl": (
        "Zażółć gęślą jaźń",
        "Dzień dobry, proszę o kawę",
        "Wałęsa, Łódź, Kraków",
        "Książka leży na półce obok okna.",
        "Święta spędzimy u babci na wsi",
        "Opłata została przyjęta",
        "Józef Piłsudski",
        "Śnieg padał całą noc",
        "Lista obecności uczniów klasy trzeciej",
        "Źródło wody",
    ),
    "cs": (
        "Příliš žluťoučký kůň úpěl ďábelské ódy",
        "Dobrý den, jak se máte?",
        "Dvořák, Antonín",
        "Účet za elektřinu",
        "Děti šly do školy pěšky",
        "Řeka teče přes město",
        "Žádost o přijetí",
        "Knihovna je zavřená",
        "Čtvrtek večer",
        "Nejlepší přání k narozeninám",
    ),
    "hu": (
        "Árvíztűrő tükörfúrógép",
        "Jó napot kívánok",
        "Könyvtár zárva, kérjük várjon",
    ),
    "el": (
        "Καλημέρα σας",
        "Η βιβλιοθήκη είναι κλειστή σήμερα.",
        "Παπαδόπουλος Γιώργος",
        "Λίστα με ονόματα",
        "Οδός Ερμού, Αθήνα",
    ),
    "tr": (
        "Günaydın, nasılsınız?",
        "Şişli, İstanbul",
        "Öğrenci listesi",
        "Kütüphane bugün kapalı olacak",
        "Yağmur yağıyordu, çocuklar içeri girdi",
    ),
    "he": (
        "שלום לכולם",
        "הספרייה סגורה היום",
        "רשימת שמות",
        "ירושלים, רחוב יפו",
        "תודה רבה על העזרה",
    ),
}
ENCODINGS: dict[str, tuple[str, ...]] = {
    "ru": ("cp1251", "koi8_r", "cp866", "iso8859_5", "mac_cyrillic"),
    "uk": ("cp1251", "koi8_u", "cp1125"),
    "de": ("cp1252", "cp850"),
    "fr": ("cp1252", "mac_roman"),
    "es": ("cp1252",),
    "sv": ("cp1252",),
    "pl": ("cp1250", "iso8859_2", "cp852"),
    "cs": ("cp1250", "iso8859_2"),
    "hu": ("cp1250",),
    "el": ("cp1253", "iso8859_7"),
    "tr": ("cp1254",),
    "he": ("cp1255",),
}
SET = ("el", "tr", "he")  # languages that an instance has to be told about


class Sample(NamedTuple):
    """A text in an encoding."""

    language: str
    encoding: str
    capitals: bool
    text: str

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return self.text.encode(self.encoding)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the instance expects."""
        return ("ru", "en", self.language) if self.language in SET else ("ru", "en")


def samples() -> Iterator[Sample]:
    """Every text in every encoding that has its letters, and once more in capitals."""
    for language, encodings in ENCODINGS.items():
        for encoding in encodings:
            for capitals in (False, True):
                for text in TEXTS[language]:
                    made = Sample(language, encoding, capitals, text.upper() if capitals else text)
                    if _fits(made) and (made.text != text or not capitals):
                        yield made


def _fits(sample: Sample) -> bool:
    try:
        return not sample.data.isascii()
    except UnicodeEncodeError:
        return False
