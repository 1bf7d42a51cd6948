"""Training steps of Res2Net blocks, faster and in less memory."""
