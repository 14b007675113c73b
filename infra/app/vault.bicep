// The refresher's own Key Vault. It holds no secret after a deployment: a person puts them there (docs/azure.md).

param name string
param location string
param tags object
@allowed(['Disabled', 'Enabled'])
param publicNetworkAccess string
param logAnalyticsWorkspaceId string

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  // checkov:skip=CKV_AZURE_109: denied where privateNetwork is true; without it Flex Consumption has no fixed address that a firewall could allow
  // checkov:skip=CKV_AZURE_189: disabled where privateNetwork is true; every request needs an Entra token and a role either way
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    publicNetworkAccess: publicNetworkAccess
    networkAcls: {
      bypass: 'None'
      defaultAction: publicNetworkAccess == 'Enabled' ? 'Allow' : 'Deny'
    }
  }
}

// Who read and wrote which secret; the events carry names and callers, never values.
resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'audit'
  scope: vault
  properties: {
    workspaceId: logAnalyticsWorkspaceId
    logs: [
      {
        categoryGroup: 'audit'
        enabled: true
      }
    ]
  }
}
