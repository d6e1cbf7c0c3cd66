"""
Guests: other frameworks in a tree of plait, one package or file each
"""
