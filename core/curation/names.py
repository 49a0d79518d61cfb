"""First names that people carry in many countries, written down for this project.

Knows: names that are hardly ever another word at the head of a pair. Does not know: surnames.
Left out on purpose: names that are also places, months, things or brands (Paris, June, Rose,
Austin, Jordan, Chelsea, Mercedes), for a false hit costs a reviewer more than a missed one.
"""

from __future__ import annotations

_FIRST = """
    Aaron Abigail Adam Adrian Agnes Ahmed Aisha Alan Albert Alejandro Alessandro Alexander
    Alexandra Alfred Alice Alicia Alison Amanda Amelia Amir Amy Ana Andrea Andreas Andrew
    Andrzej Angela Anita Anja Anna Anne Annika Anthony Antonio Arjun Arthur Ashley Astrid Aylin
    Barbara Beatrice Benjamin Bernard Bernd Bettina Bianca Birgit Brandon Brenda Brian Bruno
    Camille Carla Carlos Carmen Carol Caroline Catherine Cecilia Chiara Chloe Christian
    Christina Christine Christopher Claire Clara Claudia Craig Cynthia Daniel Daniela David
    Deborah Denise Dennis Diana Diego Dimitri Dmitri Dominik Donald Donna Dorothy Douglas Edward
    Eleanor Elena Elias Elif Elizabeth Ella Ellen Emily Emma Enrique Eric Erik Esther Eva Evelyn
    Fatima Federico Felix Fernando Filip Fiona Francesca Francesco Francois Frank Franz Fredrik
    Friedrich Gabriel Gabriela Gareth Gary George Gerald Gerhard Giovanni Giulia Gloria Gregory
    Greta Guillaume Gunnar Hannah Hans Harold Harry Hassan Heather Heidi Heinrich Helen Helena
    Helga Henrik Henry Hiroshi Hugo Ibrahim Ines Ingrid Irene Isabel Isabella Ivan Jack Jacob
    Jacqueline James Jan Jane Janet Jasmin Jason Javier Jean Jeffrey Jennifer Jens Jeremy
    Jessica Joan Joanna Johan Johanna Johannes John Jonas Jonathan Jorge Jose Joseph Joshua Juan
    Judith Julia Julian Julie Jurgen Karen Karin Karl Karolina Katarzyna Kate Katharina
    Katherine Kathleen Katja Keiko Keith Kelly Kenneth Kevin Khalid Kimberly Klaus Kristina
    Kumar Kyle Larisa Lars Laura Lauren Lena Leon Leonie Leticia Liam Lina Linda Lisa Lorenzo
    Louis Louise Luca Lucas Lucia Luigi Luis Lukas Maja Marco Marcus Margaret Maria Marie Marina
    Mario Marion Markus Marta Martha Martin Martina Mary Mateo Mathias Matteo Matthew Matthias
    Maximilian Mehmet Mei Melanie Melissa Michael Michaela Michel Michelle Miguel Mikael Mikhail
    Mohamed Mohammed Monica Monika Muhammad Nadia Natalia Natalie Natasha Nathan Nicholas Nicole
    Niklas Nils Nina Noah Noemi Nora Olaf Oleg Olga Olivia Omar Oscar Pablo Pamela Patricia
    Patrick Paul Paula Pauline Pedro Peter Petra Philip Philipp Philippe Pierre Piotr Priya
    Rachel Rafael Rahul Raj Rajesh Ralf Ramona Raquel Rebecca Renate Ricardo Richard Rita Robert
    Roberto Roger Roland Ronald Rosa Roxanne Ruth Ryan Sabine Sabrina Samantha Samira Samuel
    Sandra Sanjay Sara Sarah Scott Sebastian Sergei Sergio Sharon Sheila Shirley Silvia Simon
    Simone Sofia Sonja Sophia Sophie Stefan Stefanie Stephanie Stephen Steven Stewart Susan
    Susanne Sven Svetlana Tamara Tanja Tatiana Teresa Thomas Timothy Tobias Tomas Tomasz Tracy
    Ulrich Ulrike Ursula Valentina Valerie Vanessa Veronica Vijay Viktor Vincent Vladimir Walter
    Wei Wendy Werner William Wolfgang Xavier Yasmin Yuki Yusuf Yvonne Zoe Zofia
"""
FIRST_NAMES = frozenset(_FIRST.split())

_AFTER = """
    A After Airport All Also An And Any April Are As At August Avenue Award Bay Because Before
    Bridge But By Can Church College Company Could Day December Did Do Does February For
    Foundation Friday From Had Hall Has Have He Her Here His Hospital Hotel House How I If In
    Institute Is Island It Its January July June Just Lake Let March May Me Monday My No Not
    November Now October Of On Or Our Park Please Prize River Road Saturday School September She
    Should Since So Store Street Street's Sunday Thank Thanks That The Their Then There These
    They This Thursday To Tuesday University Was We Wednesday Were What When Where Which Who Why
    Will With Would You Your
"""
NOT_SURNAMES = frozenset(_AFTER.split())
"""Words that follow a first name without being a surname."""

_ROLES = """
    Admin Administrator All Best Cheers Client Clients Colleague Colleagues Company Customer
    Customers Dear Department Desk Diary Doctor Everybody Everyone Friend Friends From Gentlemen
    God Group Guest Hello Help Helpdesk Hi Hiring Kind Ladies Lord Ma'am Madam Manager Many
    Member Members None Not Note Office Parents Please Professor Reader Readers Regards Sales
    Santa Sent Service Services Sincerely Sir Sirs Staff Students Support Team Thank Thanks
    There User Users Valued Warm
"""
NOT_NAMES = frozenset(_ROLES.split())
"""Words that stand where a greeting or a closing has its name."""
