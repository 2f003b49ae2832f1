"""Tests of automation."""
