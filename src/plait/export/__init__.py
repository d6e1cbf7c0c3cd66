"""What is made of an application for others to run it: an entry point in the group ``plait.exports`` each"""
