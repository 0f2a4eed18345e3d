"""Gin files of deblur_tf, installed as package data."""
