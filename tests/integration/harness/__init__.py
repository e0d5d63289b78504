"""What the integration tests stand on: certificates, servers, clients and pgveil itself."""
